"""What training does on a GPU only, decided and tried on the CPU: fused Adam with clipped gradients, channels-last weights."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

pytest.importorskip("lightning.pytorch")

import lightning.pytorch as pl

from fgnet_plugin.faces.landmark_net import LandmarkNet
from fgnet_plugin.training.engine.stage import Stage, fused
from fgnet_plugin.training.stages.detector import DetectorStage


def test_adam_is_fused_where_all_weights_are_on_gpus() -> None:
    on_gpu, on_cpu = SimpleNamespace(device=torch.device("cuda", 1)), SimpleNamespace(device=torch.device("cpu"))
    assert fused([on_gpu, on_gpu]) is True  # type: ignore[list-item]
    for weights in ([on_cpu], [on_gpu, on_cpu], [SimpleNamespace(device=torch.device("mps"))], []):
        assert fused(weights) is None  # type: ignore[arg-type]


class Toy(Stage):
    """One layer in training, with the optimiser of its constructor's choice and the clipping of `Stage` or of Lightning."""

    def __init__(self, use_fused: bool | None, lightnings: bool) -> None:
        pl.LightningModule.__init__(self)
        torch.manual_seed(0)
        self.net, self.average, self.use_fused, self.norms = nn.Linear(8, 4), None, use_fused, []
        if lightnings:
            self.configure_gradient_clipping = super(Stage, self).configure_gradient_clipping

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return (self.net(batch) ** 2).sum() * 100

    def on_train_batch_start(self, batch: Tensor, batch_idx: int) -> None:
        pass

    def optimizer_step(self, *args: object, **kwargs: object) -> None:
        pl.LightningModule.optimizer_step(self, *args, **kwargs)
        self.norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in self.net.parameters()])))

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.randn(12, 8, generator=torch.Generator().manual_seed(1)), batch_size=4)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.net.parameters(), lr=1e-2, fused=self.use_fused)

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        pass


def trained(precision: str, use_fused: bool | None, lightnings: bool = False) -> Toy:
    toy = Toy(use_fused, lightnings)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(accelerator="cpu", precision=precision, max_epochs=1, gradient_clip_val=0.1, barebones=False, **quiet)
    trainer.fit(toy)
    return toy


@pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging intervals
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_are_clipped_as_lightning_does_and_with_a_fused_optimiser_too(precision: str) -> None:
    expected, found, of_fused = trained(precision, None, lightnings=True), trained(precision, None), trained(precision, True)
    for toy in (expected, found, of_fused):
        assert toy.norms == pytest.approx([0.1] * 3, rel=1e-4)
    assert torch.equal(found.net.weight, expected.net.weight)
    torch.testing.assert_close(of_fused.net.weight, found.net.weight)
    if precision == "bf16-mixed":
        with pytest.raises(RuntimeError, match="does not allow for gradient clipping"):
            trained(precision, True, lightnings=True)


def test_weights_are_channels_last_on_gpus_only() -> None:
    for kind in ("cpu", "cuda"):
        net, average = LandmarkNet(), LandmarkNet()
        stage = SimpleNamespace(trainer=SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(kind))))
        stage.net, stage.average = net, average
        before = {name: weight.clone() for name, weight in net.state_dict().items()}
        Stage.configure_model(stage)  # type: ignore[arg-type]
        kernels = [
            weight for part in (net, average) for weight in part.parameters() if weight.ndim == 4 and weight.shape[-1] > 1
        ]
        assert {weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels} >= {kind == "cuda"}
        wide = [weight for weight in kernels if weight.shape[1] > 1]
        assert all(weight.is_contiguous(memory_format=torch.channels_last) == (kind == "cuda") for weight in wide)
        assert all(torch.equal(weight, before[name]) for name, weight in net.state_dict().items())
    assert DetectorStage.configure_model is not Stage.configure_model  # FGNet.prepare's layout stays
