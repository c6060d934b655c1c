"""What training does on a GPU only, decided and tried on the CPU: fused Adam with clipped gradients, channels-last weights."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("lightning.fabric")

from lightning.fabric import Fabric

from fgnet_plugin.faces.face_mesh import FaceMesh
from fgnet_plugin.training.config.detector import Optimiser
from fgnet_plugin.training.config.trainer import Trainer
from fgnet_plugin.training.data.loading import StepSampler
from fgnet_plugin.training.engine.stage import Stage, fused
from fgnet_plugin.training.stages.detector import DetectorStage


def test_adam_is_fused_where_all_weights_are_on_gpus() -> None:
    on_gpu, on_cpu = SimpleNamespace(device=torch.device("cuda", 1)), SimpleNamespace(device=torch.device("cpu"))
    assert fused([on_gpu, on_gpu]) is True  # type: ignore[list-item]
    for weights in ([on_cpu], [on_gpu, on_cpu], [SimpleNamespace(device=torch.device("mps"))], []):
        assert fused(weights) is None  # type: ignore[arg-type]


class Toy(Stage):
    """One layer in training, with the optimiser of its constructor's choice."""

    def __init__(self, precision: str, use_fused: bool | None) -> None:
        torch.manual_seed(0)
        optimiser, trainer = Optimiser(lr=1e-2, clip=0.1), Trainer("out", precision=precision)
        super().__init__(nn.Linear(8, 4), [], [], StepSampler(12, 4, 1), optimiser, trainer, {})
        self.use_fused = use_fused

    def training_step(self, batch: Tensor) -> Tensor:
        return (self.net(batch) ** 2).sum() * 100

    def make_optimisers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.AdamW(self.net.parameters(), lr=1e-2, fused=self.use_fused)]


def trained(precision: str, use_fused: bool | None) -> tuple[Tensor, list[float]]:
    """The weights, and the gradients' norm after each step."""
    fabric, toy, norms = Fabric(accelerator="cpu", devices=1), Toy(precision, use_fused), []
    fabric.launch()
    toy.setup(fabric.device)
    forward = fabric.setup_module(toy)
    for batch in torch.randn(12, 8, generator=torch.Generator().manual_seed(1)).split(4):
        toy.take_step([batch], fabric, forward)
        norms.append(float(nn.utils.get_total_norm([p.grad for p in toy.net.parameters()])))
    return toy.net.weight, norms


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_are_clipped_with_a_fused_optimiser_too(precision: str) -> None:
    (weight, norms), (of_fused, fused_norms) = trained(precision, None), trained(precision, True)
    for found in (norms, fused_norms):
        assert found == pytest.approx([0.1] * 3, rel=1e-4)
    torch.testing.assert_close(of_fused, weight)


def test_weights_are_channels_last_on_gpus_only() -> None:
    for kind in ("cpu", "cuda"):
        net, average = FaceMesh(), FaceMesh()
        stage = SimpleNamespace(net=net, average=average, to=lambda device: None, make_optimisers=list)
        stage.use_channels_last = lambda stage=stage: Stage.use_channels_last(stage)
        before = {name: weight.clone() for name, weight in net.state_dict().items()}
        Stage.setup(stage, torch.device(kind))  # type: ignore[arg-type]
        kernels = [
            weight for part in (net, average) for weight in part.parameters() if weight.ndim == 4 and weight.shape[-1] > 1
        ]
        assert {weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels} >= {kind == "cuda"}
        wide = [weight for weight in kernels if weight.shape[1] > 1]
        assert all(weight.is_contiguous(memory_format=torch.channels_last) == (kind == "cuda") for weight in wide)
        assert all(torch.equal(weight, before[name]) for name, weight in net.state_dict().items())
    assert DetectorStage.use_channels_last is not Stage.use_channels_last  # FGNet.prepare's layout stays
