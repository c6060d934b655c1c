"""How steps are divided among processes, and what these share: counts, faces, BatchNorm."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
import torch
from torch import nn


@pytest.mark.parametrize(
    ("variables", "overrides", "counts"),
    [
        ({}, {}, (1, 1)),
        ({}, {"devices": 4, "nodes": 2}, (4, 2)),
        ({"TORCHELASTIC_RUN_ID": "1", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"}, {"devices": None, "nodes": 2}, (2, 2)),
        ({"SLURM_NTASKS": "8"}, {"devices": 4, "nodes": 2}, (4, 2)),
        ({"SLURM_NTASKS": "8"}, {"devices": None, "nodes": 2}, (4, 2)),
        ({"SLURM_NTASKS": "1"}, {}, (1, 1)),
        ({"SLURM_NTASKS": "1"}, {"devices": 2}, "SLURM has started 1 process, but trainer.devices is 2"),
        ({"TORCHELASTIC_RUN_ID": "1", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2"}, {}, "torchrun has started 2 processes"),
    ],
)
def test_the_launcher_and_the_settings_must_agree(
    variables: dict[str, str], overrides: dict[str, int], counts: tuple[int, int] | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fgnet_plugin.training.config.trainer import Trainer
    from fgnet_plugin.training.engine.distributed import process_counts

    for name in ("TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if isinstance(counts, tuple):
        assert process_counts(Trainer("out", **overrides)) == counts
    else:
        with pytest.raises(ValueError, match=counts):
            process_counts(Trainer("out", **overrides))


def shares(parts: int, accumulate: int, samples: int = 20, batch_size: int = 8, **changes: object) -> list[list[list[int]]]:
    """Each process' steps."""
    from fgnet_plugin.training.data.loading import StepSampler

    found = []
    for rank in range(parts):
        sampler = StepSampler(samples, batch_size, epochs=2, **changes)
        sampler.divide(parts, rank, accumulate)
        assert len(sampler) == 2 * sampler.steps_per_epoch
        found.append(list(sampler))
    return found


@pytest.mark.parametrize(("parts", "accumulate"), [(2, 1), (1, 2), (2, 2), (4, 1), (8, 1)])
def test_a_step_is_divided(parts: int, accumulate: int) -> None:
    whole, divided = shares(1, 1)[0], shares(parts, accumulate)
    for step, faces in enumerate(whole):
        of_ranks = [steps[step] for steps in divided]
        assert len({len(share) for share in of_ranks}) == 1
        missing = -len(faces) % (parts * accumulate)
        again = whole[step - step % 3][:missing]
        assert sorted(chain(*of_ranks)) == sorted(faces + again)
        # Micro-batch by micro-batch they are the same, however many processes there are.
        micro = len(of_ranks[0]) // accumulate
        for k in range(accumulate):
            together = [of_ranks[rank][k * micro + i] for i in range(micro) for rank in range(parts)]
            assert together == (faces + again)[k * micro * parts : (k + 1) * micro * parts]


def test_fresh_faces_are_filled_up_from_their_own_epoch() -> None:
    whole = list(chain(*chain(*shares(2, 2, samples=5, batch_size=4, fresh=True))))
    assert set(whole) == set(range(10))
    assert len(whole) == 16
    assert sorted(chain(*(steps[1] for steps in shares(4, 1, samples=5, batch_size=4, fresh=True)))) == [0, 1, 2, 4]


def norm_worker(rank: int, rendezvous: str, folder: str) -> None:
    """One of two processes with half of a batch."""
    from fgnet_plugin.training.engine.sync_batchnorm import SyncedBatchNorm2d, sync_batchnorm

    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    x, weights, net = norm_problem()
    sync_batchnorm(net)
    assert type(net[1]) is SyncedBatchNorm2d
    x = x[rank::2].clone().requires_grad_()
    (net(x) * weights[rank::2]).sum().backward()
    gradients = [parameter.grad for parameter in net.parameters()]
    torch.save([x.grad, gradients, net.state_dict()], f"{folder}/{rank}.pt")


def norm_problem() -> tuple[torch.Tensor, torch.Tensor, nn.Sequential]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2)).double()
    nn.init.normal_(net[1].weight)
    return torch.randn(6, 3, 8, 8, dtype=torch.float64) + 5, torch.randn(6, 2, 6, 6, dtype=torch.float64), net


def test_batch_norm_over_two_processes(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(norm_worker, (str(tmp_path / "rendezvous"), str(tmp_path)), nprocs=2)
    x, weights, net = norm_problem()
    x.requires_grad_()
    (net(x) * weights).sum().backward()
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for rank, (of_x, _, state) in enumerate(found):
        torch.testing.assert_close(of_x, x.grad[rank::2])
        assert state.keys() == net.state_dict().keys()
        for name, value in net.state_dict().items():
            torch.testing.assert_close(state[name], value)
    for parameter, *halves in zip(net.parameters(), *(gradients for _, gradients, _ in found), strict=True):
        torch.testing.assert_close(sum(halves), parameter.grad)


def test_batch_norm_alone_is_batch_norm() -> None:
    from fgnet_plugin.training.engine.sync_batchnorm import SyncedBatchNorm2d

    x = torch.randn(4, 3, 5, 5)
    one, other = nn.BatchNorm2d(3), SyncedBatchNorm2d(3)
    assert torch.equal(one(x), other(x))
    assert torch.equal(one.eval()(x), other.eval()(x))
    assert torch.equal(one.running_var, other.running_var)
