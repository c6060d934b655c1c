"""What a detector's training starts from: the published StyleGAN2 and pSp files, pretrained parts, checkpoints."""

from __future__ import annotations

import csv
import dataclasses
import os
import pickle
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from conftest import SMALL, write_published
from torch import Tensor
from toy_training import AUS, settings, toy_corpus

import fgnet_plugin
from fgnet_plugin import CheckpointError, convert_published
from fgnet_plugin.checkpoints import published
from fgnet_plugin.checkpoints.fgnet import verify
from fgnet_plugin.network import FGNetConfig

ARCHITECTURE = {key: value for key, value in dataclasses.asdict(SMALL).items() if key != "aus"}


def write_starts(folder: Path, config: FGNetConfig, seed: int) -> tuple[Path, Path]:
    """The same weights as `write_published`, as StyleGAN2's and pSp's files have them; pSp's decoder is another generator."""
    parts = torch.load(write_published(folder, config, seed)[0], weights_only=True)
    average = torch.load(folder / "encoder.pt", weights_only=True)["latent_avg"]
    other = torch.load(write_published(folder / "other", config, seed + 1)[0], weights_only=True)["g_all"]
    state = {f"encoder.{name}": tensor for name, tensor in parts["pspencoder"].items()}
    state |= {f"decoder.{name}": tensor for name, tensor in other.items()}
    torch.save({"state_dict": state, "opts": {"output_size": 1024}, "latent_avg": average}, folder / "psp.pt")
    torch.save({"g_ema": parts["g_all"], "latent_avg": torch.zeros(config.style_dim)}, folder / "stylegan2.pt")
    return folder / "stylegan2.pt", folder / "psp.pt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published starts and FG-Net files of the same weights, both at the small size, and a corpus."""
    made = tmp_path_factory.mktemp("starts")
    write_starts(made, SMALL, seed=3)
    convert_published(made / "model.pth", made / "encoder.pt", "BP4D", made / "fgnet.safetensors", config=SMALL)
    convert_published(made / "other/model.pth", made / "encoder.pt", "BP4D", made / "other.safetensors", config=SMALL)
    toy_corpus(made, n=24)
    return made


def start(**settings: object) -> tuple[dict[str, Tensor], str]:
    """Weights, and their licence, that a training with these settings of the model starts with."""
    from fgnet_plugin.training.config.detector import Model
    from fgnet_plugin.training.models.start import detector

    torch.manual_seed(5)
    net, licence = detector(Model(architecture=ARCHITECTURE, **settings), AUS)
    assert net.training
    return net.state_dict(), licence


def weights(path: Path) -> dict[str, Tensor]:
    return fgnet_plugin.load(path).state_dict()


def same(part: str, one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether all tensors of a part are the same, bit for bit."""
    names = [name for name in one if name.startswith(f"{part}.")]
    return bool(names) and all(torch.equal(one[name], other[name]) for name in names)


def test_published_starts_are_what_conversion_makes_of_the_same_tensors(folder: Path) -> None:
    found, licence = start(stylegan2=str(folder / "stylegan2.pt"), psp=str(folder / "psp.pt"))
    expected = weights(folder / "fgnet.safetensors")
    assert same("generator", found, expected)
    assert same("encoder", found, expected)
    assert found["encoder.latent_average"].abs().max() > 0
    assert not same("interpreter", found, expected)
    fresh, no_licence = start()
    assert same("interpreter", found, fresh)
    assert "CC BY-NC-SA" in licence
    assert no_licence == ""


def test_without_stylegan2_the_generator_is_psps_decoder(folder: Path) -> None:
    found, _ = start(psp=str(folder / "psp.pt"))
    assert same("generator", found, weights(folder / "other.safetensors"))
    assert same("encoder", found, weights(folder / "fgnet.safetensors"))


def test_without_psp_the_encoder_is_random(folder: Path) -> None:
    found, licence = start(stylegan2=str(folder / "stylegan2.pt"))
    assert same("generator", found, weights(folder / "fgnet.safetensors"))
    assert same("encoder", found, start()[0])
    assert "CC BY-NC-SA" in licence


def test_files_as_they_are_found_on_the_web(folder: Path, tmp_path: Path) -> None:
    """Generators without their constant blurs, pSp files with the program's arguments in them, float16, and the old format."""
    generator = torch.load(folder / "stylegan2.pt", weights_only=True)
    generator["g_ema"] = {name: t for name, t in generator["g_ema"].items() if not name.endswith("kernel")}
    torch.save(generator | {"args": Namespace(size=1024)}, tmp_path / "g.pt", _use_new_zipfile_serialization=False)
    psp = torch.load(folder / "psp.pt", weights_only=True)
    torch.save(psp | {"opts": Namespace(output_size=1024, device="cuda:0")}, tmp_path / "psp.pt")
    found, _ = start(stylegan2=str(tmp_path / "g.pt"), psp=str(tmp_path / "psp.pt"))
    expected = weights(folder / "fgnet.safetensors")
    assert same("generator", found, expected)
    assert same("encoder", found, expected)
    generator["g_ema"] = {name: tensor.half() for name, tensor in generator["g_ema"].items()}
    torch.save(generator, tmp_path / "half.pt")
    found, _ = start(stylegan2=str(tmp_path / "half.pt"))
    assert found["generator.constant"].dtype == torch.float32
    assert torch.equal(found["generator.constant"], expected["generator.constant"].half().float())


def test_all_that_does_not_fit_is_listed(folder: Path, tmp_path: Path) -> None:
    psp = torch.load(folder / "psp.pt", weights_only=True)
    state = psp["state_dict"]
    del state["encoder.input_layer.0.weight"]
    state["encoder.styles.3.linear.bias"] = torch.zeros(5)
    state["encoder.latlayer1.bias"] = "text"
    del state["decoder.noises.noise_2"]
    state["decoder.conv1.conv.weight"] = torch.zeros(1, 2, 3)
    torch.save(psp, tmp_path / "psp.pt")
    with pytest.raises(CheckpointError, match=r"psp\.pt: does not fit this architecture") as caught:
        start(psp=str(tmp_path / "psp.pt"))
    for line in (
        "encoder.input_layer.0.weight is missing",
        "encoder.styles.3.linear.bias has shape [5], expected [32]",
        "encoder.latlayer1.bias is missing",
        "decoder.noises.noise_2 is missing",
        "decoder.conv1.conv.weight has shape [1, 2, 3], expected [1, 32, 32, 3, 3]",
    ):
        assert line in str(caught.value)
    assert len(str(caught.value).splitlines()) == 6


def broken(kind: str, content: dict[str, dict[str, Tensor]]) -> object:
    """StyleGAN2's file with one thing wrong."""
    tensors = content["g_ema"]
    if kind == "nan":
        tensors["convs.0.conv.weight"][0, 0, 0, 0, 0] = torch.nan
    elif kind == "blur":
        tensors["convs.0.conv.blur.kernel"] *= 2
    elif kind == "missing":
        del tensors["input.input"]
    elif kind == "model.pth":
        return {"interpreter": {}, "g_all": {}, "pspencoder": {}}
    elif kind == "tensor":
        return torch.zeros(3)
    return content


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("nan", r"generator\.layers\.1\.weight holds NaN or infinity"),
        ("blur", r"g_ema: convs\.0\.conv\.blur\.kernel is not the \[1, 3, 3, 1\] blur"),
        ("missing", r"g_ema: input\.input is missing"),
        ("model.pth", r"that file holds g_ema, this one interpreter, g_all, pspencoder; FG-Net's model\.pth goes through"),
        ("tensor", r"that file holds g_ema, this one a Tensor"),
    ],
)
def test_generators_that_are_none(kind: str, says: str, folder: Path, tmp_path: Path) -> None:
    torch.save(broken(kind, torch.load(folder / "stylegan2.pt", weights_only=True)), tmp_path / "g.pt")
    with pytest.raises(CheckpointError, match=rf"(?s)g\.pt: .*{says}"):
        start(stylegan2=str(tmp_path / "g.pt"))


def test_average_codes_that_are_none(folder: Path, tmp_path: Path) -> None:
    psp = torch.load(folder / "psp.pt", weights_only=True)
    for average in (None, torch.zeros(32), torch.full((12, 32), torch.inf)):
        torch.save(psp | {"latent_avg": average}, tmp_path / "psp.pt")
        with pytest.raises(CheckpointError, match=r"psp\.pt: latent_avg must be a finite tensor of shape \[12, 32\]"):
            start(psp=str(tmp_path / "psp.pt"))


def test_swapped_truncated_and_foreign_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"psp\.pt: not a generator .* model\.stylegan2 and model\.psp swapped"):
        start(stylegan2=str(folder / "psp.pt"))
    with pytest.raises(CheckpointError, match=r"stylegan2\.pt: not pSp's file.* model\.stylegan2 and model\.psp swapped"):
        start(psp=str(folder / "stylegan2.pt"))
    (tmp_path / "cut.pt").write_bytes((folder / "psp.pt").read_bytes()[:-5000])
    with pytest.raises(CheckpointError, match=r"cut\.pt: unreadable or truncated"):
        start(psp=str(tmp_path / "cut.pt"))


class Hostile:
    """A pickle that would make a folder when loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("setting", ["stylegan2", "psp"])
@pytest.mark.parametrize("bare", [False, True])
def test_nothing_in_a_file_is_executed(setting: str, bare: bool, folder: Path, tmp_path: Path) -> None:
    path, hostile = tmp_path / "x.pt", Hostile(tmp_path / "executed")
    if bare:
        path.write_bytes(pickle.dumps(hostile, protocol=2))
    else:
        content = torch.load(folder / f"{setting}.pt", weights_only=True)
        torch.save(content | {"opts": Namespace(nested=hostile)}, path)
    with pytest.raises(CheckpointError, match=r"x\.pt: refused"):
        start(**{setting: str(path)})
    assert not (tmp_path / "executed").exists()


def test_absent_files_are_said_where_to_get_before_the_corpus_is_read(tmp_path: Path) -> None:
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector

    here = [f"trainer.out={tmp_path}", f"model.psp={tmp_path}/encoder.pt", f"model.stylegan2={tmp_path}/g.pt"]
    with pytest.raises(CheckpointError) as caught:
        train_detector(read_detector("bp4d", here))
    psp, stylegan2 = str(caught.value).splitlines()
    assert f"{tmp_path}/encoder.pt: no such file" in psp
    assert "https://drive.google.com" in psp
    assert f"{tmp_path}/g.pt: no such file" in stylegan2
    assert "rosinality/stylegan2-pytorch" in stylegan2


@pytest.fixture(scope="module")
def pretrained(folder: Path) -> dict[str, Path]:
    """Files of pretrained parts, from the converted checkpoint: both parts, a generator alone, both in half precision."""
    from fgnet_plugin.checkpoints.pretrained import save_pretrained

    net, training = fgnet_plugin.load(folder / "fgnet.safetensors"), {"by": "a test"}
    both = {"generator": net.generator, "encoder": net.encoder.state_dict(), "moments": {"mean": torch.ones(2)}}
    return {
        "both": save_pretrained(folder / "both.safetensors", SMALL, both, training, "licensed"),
        "generator": save_pretrained(folder / "generator.safetensors", SMALL, {"generator": net.generator}, training),
        "half": save_pretrained(folder / "half.safetensors", SMALL, both, training, half=True),
    }


def test_pretrained_parts_come_back_as_they_were(folder: Path, pretrained: dict[str, Path]) -> None:
    from fgnet_plugin.checkpoints.pretrained import is_pretrained, load_pretrained

    expected = fgnet_plugin.load(folder / "fgnet.safetensors", channels_last=False)
    found = load_pretrained(pretrained["both"])
    assert found.config(SMALL.aus) == SMALL
    assert "aus" not in found.architecture
    assert (found.training, found.licence) == ({"by": "a test"}, "licensed")
    assert set(found.parts) == {"generator", "encoder", "moments"}
    for part in ("generator", "encoder"):
        for name, tensor in getattr(expected, part).state_dict().items():
            assert torch.equal(found.parts[part][name], tensor), name
    half = load_pretrained(pretrained["half"]).parts
    assert pretrained["half"].stat().st_size < 0.6 * pretrained["both"].stat().st_size
    average = half["encoder"]["latent_average"]
    assert torch.equal(average, expected.encoder.latent_average)
    assert torch.equal(half["generator"]["constant"], expected.generator.constant.half().float())
    assert is_pretrained(pretrained["both"])
    assert not is_pretrained(folder / "fgnet.safetensors")
    assert not is_pretrained(folder / "none.safetensors")


def test_a_training_starts_with_pretrained_parts(folder: Path, pretrained: dict[str, Path]) -> None:
    from fgnet_plugin.training.config.detector import Model
    from fgnet_plugin.training.models.start import detector, face_size

    expected = weights(folder / "fgnet.safetensors")
    for name, encoder in (("both", True), ("generator", False)):
        model = Model(start_from=str(pretrained[name]))
        torch.manual_seed(5)
        net, licence = detector(model, ("AU02", "AU25"))
        assert net.config == dataclasses.replace(SMALL, aus=("AU02", "AU25"))
        assert face_size(model) == 64
        assert same("generator", net.state_dict(), expected)
        assert same("encoder", net.state_dict(), expected) == encoder
        assert licence == ("licensed" if name == "both" else "")
    with pytest.raises(ValueError, match=r"both\.safetensors has no interpreter to go on with"):
        detector(Model(start_from=str(pretrained["both"]), reset_interpreter=False), AUS)


def test_damaged_pretrained_files_are_named(folder: Path, pretrained: dict[str, Path], tmp_path: Path) -> None:
    from fgnet_plugin.checkpoints.pretrained import load_pretrained, save_pretrained

    original, path = pretrained["generator"].read_bytes(), tmp_path / "x.safetensors"
    for content, says in (
        (original[:-100], "truncated"),
        (b"", "truncated"),
        (original[:-7] + bytes([original[-7] ^ 4]) + original[-6:], "damaged, its contents differ"),
        ((folder / "fgnet.safetensors").read_bytes(), "holds no pretrained parts"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"x\.safetensors: .*{says}"):
            load_pretrained(path)
    with pytest.raises(CheckpointError, match="none: no such file"):
        load_pretrained(tmp_path / "none")
    state = load_pretrained(pretrained["generator"]).parts["generator"]
    del state["constant"]
    state |= {"layers.0.bias": torch.zeros(3), "extra": torch.zeros(1)}
    save_pretrained(path, SMALL, {"generator": state}, {})
    with pytest.raises(CheckpointError) as caught:
        load_pretrained(path)
    for line in ("constant is missing", "extra is not part of the architecture", "layers.0.bias has shape [3], expected [32]"):
        assert f"generator: {line}" in str(caught.value)
    with pytest.raises(CheckpointError, match="pretrained parts, not a whole FG-Net"):
        fgnet_plugin.load(pretrained["both"])
    for parts in ({}, {"generator": {}}, {"mapping": state}):
        with pytest.raises(ValueError, match="parts must be some of generator, encoder"):
            save_pretrained(path, SMALL, parts, {})


STARTS = {
    "checkpoint": {"start_from": "fgnet.safetensors"},
    "pretrained": {"start_from": "both.safetensors"},
    "generator": {"start_from": "generator.safetensors"},
    "published": {"stylegan2": "stylegan2.pt", "psp": "psp.pt"},
    "psp": {"psp": "psp.pt"},
}


@pytest.mark.parametrize("kind", STARTS)
def test_two_steps_from_each_start(kind: str, folder: Path, pretrained: dict[str, Path], tmp_path: Path) -> None:
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector

    model: dict[str, object] = {name: str(folder / file) for name, file in STARTS[kind].items()}
    if "start_from" not in model:
        model["architecture"] = {key: list(v) if isinstance(v, tuple) else v for key, v in ARCHITECTURE.items()}
    changes = {"epochs": 1, "batches_per_epoch": 2, "ema": None, "lr": 5e-5, "clip": 0.1, "schedule": "none"}
    path = settings(folder, optimiser=changes, guide={"labels": 0.0}, export={"licence": "ours", "corpus": "toy"})
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"model": model}))
    out = train_detector(read_detector(str(path), [f"trainer.out={tmp_path}", "trainer.log_every=1"]))
    info, found, before = verify(out), weights(out), weights(folder / "fgnet.safetensors")
    assert info.corpus == "toy"
    assert ("CC BY-NC-SA" in info.licence) == (kind in ("checkpoint", "published", "psp"))
    assert info.licence.startswith("ours")
    assert info.training["recipe"]["model"]["psp"] == model.get("psp", "")
    log = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["step"] for row in log if row["loss"]] == ["1", "2"]
    if kind != "psp":  # AdamW moves each weight by about the rate in each step
        change = (found["generator.layers.3.weight"] - before["generator.layers.3.weight"]).abs()
        assert 0 < change.max() < 5e-4


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"start_from": "x", "psp": "y"}, "start_from brings generator and encoder: leave out psp"),
        ({"start_from": "x", "psp": "y", "stylegan2": "z"}, "leave out stylegan2 and psp"),
        ({"baseline": "resnet18", "psp": "y"}, "baseline is a network of its own.*leave out psp"),
        ({"baseline": "resnet18", "architecture": {"dropout": 0.0}}, "leave out architecture"),
        ({"baseline": "resnet18", "size": 16}, "size of a baseline must be at least 32, got 16"),
        ({"baseline": "resnet18", "size": 64, "width": 32}, "leave out width$"),
        ({"baseline": "resnet18", "reset_interpreter": False}, "leave out reset_interpreter$"),
        ({"start_from": "x", "width": 32}, "start_from brings its architecture: leave out size, width"),
        ({"width": 32}, "width is that of a small network: give size"),
        ({"size": 64, "reset_interpreter": False}, "reset_interpreter speaks of the weights in start_from"),
        ({"psp": "y", "start_from_same_corpus": True}, "start_from_same_corpus speaks of the weights in start_from"),
    ],
)
def test_starts_that_contradict_each_other(model: dict[str, object], says: str) -> None:
    from fgnet_plugin.training.config.detector import Model

    with pytest.raises(ValueError, match=says):
        Model(**model)


def leaks(tmp_path: Path, start: Path | str, corpus: str = "", **more: str) -> str:
    """Why a training on BP4D's fold 0, or on files of its own, may not start from these weights; empty where it may."""
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector

    csv = {"train": str(tmp_path / "none.csv"), "folds": "bp4d", "fold": "0"} | more
    data = ["data.csv.image_root=''", *(f"data.csv.{name}={value or repr('')}" for name, value in csv.items())]
    model = ["model.psp=''", f"model.start_from={start}"]
    config = read_detector("bp4d", [*data, *model, f"export.corpus={corpus or repr('')}", f"trainer.out={tmp_path / 'out'}"])
    with pytest.raises(ValueError, match=r"start_from_same_corpus|no such file") as caught:
        train_detector(config)
    if "no such file" in str(caught.value):  # that of the label file, which is read later
        return ""
    allowed = dataclasses.replace(config, model=dataclasses.replace(config.model, start_from_same_corpus=True))
    with pytest.raises(ValueError, match=r"no such file|not on this machine"):
        train_detector(allowed)
    return str(caught.value)


def test_weights_that_may_have_seen_the_test_subjects_are_refused(folder: Path, tmp_path: Path) -> None:
    from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, save

    bp4d = folder / "fgnet.safetensors"
    says = leaks(tmp_path, bp4d)
    assert f"model.start_from: {bp4d} was trained on BP4D" in says
    assert "may have seen the test subjects" in says
    assert "trained on BP4D" in leaks(tmp_path, "fgnet-bp4d")  # known by its name, before it is downloaded
    files = {"folds": "", "fold": "null", "test": str(tmp_path / "test.csv")}
    assert "trained on BP4D" in leaks(tmp_path, bp4d, "bp4d", **files)
    assert leaks(tmp_path, bp4d, "other", **files) == ""
    assert leaks(tmp_path, bp4d, "BP4D", **(files | {"test": ""})) == ""  # nobody is tested

    # What another training was started from counts as well, and so do its label files.
    net, state = fgnet_plugin.load(bp4d), {"csv": {"train": str(tmp_path / "mine.csv"), "folds": "disfa"}}
    (tmp_path / "mine.csv").write_text("image_path,AU01\n")
    for name, start in (("from_bp4d", str(bp4d)), ("from_scratch", "")):
        training = {"recipe": {"data": state, "model": {"start_from": start}}}
        save(net, tmp_path / f"{name}.safetensors", CheckpointInfo(net.config, "DISFA", training=training))
    assert "trained on BP4D" in leaks(tmp_path, tmp_path / "from_bp4d.safetensors")
    assert leaks(tmp_path, tmp_path / "from_scratch.safetensors") == ""
    assert "trained on DISFA" in leaks(tmp_path, tmp_path / "from_scratch.safetensors", folds="disfa")
    same_file = files | {"test": str(tmp_path / "mine.csv")}
    assert f"trained on {tmp_path}/mine.csv" in leaks(tmp_path, tmp_path / "from_scratch.safetensors", **same_file)


def test_pretrained_parts_that_have_seen_the_test_faces_are_refused(folder: Path, tmp_path: Path) -> None:
    from fgnet_plugin.checkpoints.pretrained import save_pretrained

    net, path = fgnet_plugin.load(folder / "fgnet.safetensors"), tmp_path / "parts.safetensors"
    (tmp_path / "faces").mkdir()
    for seen, refused in (("ffhq", False), ("corpora/BP4D/aligned_images", True), (str(tmp_path), True), ("", False)):
        training = {"recipe": {"data": {"folder": seen, "rendered": None}}}
        save_pretrained(path, SMALL, {"generator": net.generator}, training)
        assert bool(leaks(tmp_path, path)) == refused, seen
    # An encoder's file says what generator it inverts.
    save_pretrained(path, SMALL, {"generator": net.generator}, {"recipe": {"data": {"folder": str(tmp_path)}}})
    training = {"recipe": {"data": {"folder": "ffhq"}, "start_from": str(path)}}
    save_pretrained(tmp_path / "encoder.safetensors", SMALL, {"generator": net.generator}, training)
    assert f"trained on {tmp_path}," in leaks(tmp_path, tmp_path / "encoder.safetensors")


@pytest.mark.parametrize("corpus", ["BP4D", "DISFA"])
def test_the_corpora_come_with_the_published_recipe(corpus: str) -> None:
    from fgnet_plugin.action_units import corpus_aus
    from fgnet_plugin.training.config.detector import AuxiliaryHead, Optimiser, read_detector

    config = read_detector(corpus.lower())
    assert config.optimiser == Optimiser()
    assert (config.guide, config.data.flip, config.trainer.precision) == (AuxiliaryHead(), False, "32-true")
    assert config.data.csv.aus == corpus_aus(corpus)
    assert (config.data.csv.folds, config.data.csv.fold, config.data.csv.validation) == (corpus.lower(), 0, "subjects")
    assert (config.model.psp, config.model.start_from, config.model.size) == ("encoder.pt", "", None)
    assert config.model.config(config.data.csv.aus) == FGNetConfig(corpus_aus(corpus))
    baseline = read_detector(f"{corpus.lower()}-baseline")
    assert baseline.model.baseline == "resnet50"
    assert baseline.data == config.data


def test_published_names_are_those_of_the_recorded_files(golden_keys: dict[str, dict[str, list[int]]]) -> None:
    """At full size the names that are looked for are the ones of the published model.pth, blurs included."""
    shapes = published.shapes(FGNetConfig(aus=AUS))
    for part in ("g_all", "pspencoder"):
        assert {name: list(shape) for name, shape in shapes[part].items()} == golden_keys[part]
