"""job.toml: strict, small, helpful."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.options import build_options, parse_options
from recon.errors import InvalidOptions
from recon.settings import ReconViaGenInstallation


def build(text: str, **defaults: object) -> object:
    return build_options(parse_options("job.toml", text.encode()), defaults, 1_000_000, "job.toml")


def test_all_parts_arrive() -> None:
    """Words of the reconstruction and of the daemon stand side by side."""
    values = parse_options("job.toml", b'priority = 3\nzip = true\nfit = "depth"\n[depth]\nunit_m = 0.001\n')
    options = build_options(values, {}, 1_000_000, "job.toml")
    assert (options.priority, options.zip, options.fit, options.depth.unit_m) == (3, True, "depth", 0.001)
    settings = options.settings_on(ReconViaGenInstallation())
    assert settings.fit == "depth"
    assert "priority" not in type(settings).model_fields


@pytest.mark.parametrize(
    "text",
    [
        'installation = { source_dir = "/tmp" }\n',
        '[reconviagen]\nsource_dir = "/tmp"\n',
        '[reconviagen]\nweights_dir = "/tmp"\n',
        '[reconviagen]\nlow_vram = "off"\n',
    ],
)
def test_paths_are_the_operators_alone(text: str) -> None:
    """A job says how the samplers run, never which code or weights of the machine are loaded."""
    with pytest.raises(InvalidOptions, match="unknown key"):
        build(text)
    options = build_options({"reconviagen": {"sparse_steps": 9}}, {}, 1_000_000, "job.toml")
    installation = ReconViaGenInstallation(source_dir=Path("/opt/reconviagen"))
    settings = options.settings_on(installation)
    assert (settings.reconviagen.sparse_steps, settings.installation) == (9, installation)
    assert "/opt/reconviagen" not in settings.model_dump_json()


def test_json_says_the_same() -> None:
    """job.json has the same words."""
    values = parse_options("job.json", b'\xef\xbb\xbf{"seed": 7}')
    assert build_options(values, {}, 1_000_000, "job.json").seed == 7


def test_defaults_are_filled_in_below() -> None:
    """The operator's defaults hold where the job says nothing, also inside tables."""
    values = parse_options("job.toml", b"[depth]\nunit_m = 0.01\n")
    defaults = {"seed": 5, "depth": {"unit_m": 0.001, "near_m": 1.0}}
    options = build_options(values, defaults, 1_000_000, "job.toml")
    assert (options.seed, options.depth.unit_m, options.depth.near_m) == (5, 0.01, 1.0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("textur_px = 512", "unknown key 'textur_px'; did you mean texture_px?"),
        ("[depth]\nunitm = 1", "unknown key 'depth.unitm'; did you mean unit_m?"),
        ("[nvdiffrec.optimise]\nsteps_count = 1", "did you mean step_count?"),
        ("texture_px = 7", "texture_px: Input should be greater than or equal to 256"),
        ("priority = 99", "priority: Input should be less than or equal to 10"),
        ("model = 3", "model: Input should be a valid string"),
        ("zip = ", "cannot be read"),
    ],
)
def test_mistakes_are_named(text: str, sentence: str) -> None:
    """The first mistake is said in a sentence with the word that was meant."""
    with pytest.raises(InvalidOptions) as caught:
        build(text)
    assert sentence in caught.value.message
    assert caught.value.file == "job.toml"


def test_a_job_cannot_raise_the_operators_limit() -> None:
    """max_image_pixels may be lowered, never raised."""
    high = build_options({"max_image_pixels": 10**9}, {}, 1_000_000, "job.toml")
    low = build_options({"max_image_pixels": 5000}, {}, 1_000_000, "job.toml")
    assert (high.max_image_pixels, low.max_image_pixels) == (1_000_000, 5000)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("job.toml", b"seed = 1" + b"\n" * 70_000),
        ("job.toml", b"\xff\xfe\x00s"),
        ("job.json", b"[" * 50_000),
        ("job.json", b'{"model": "\\ud800"}'),
        ("job.json", b"[1, 2]"),
        ("job.toml", b"a." * 5000 + b"b = 1"),
        ("job.json", json.dumps({"depth": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": 1}}}}}}}}}).encode()),
    ],
)
def test_bombs_are_refused(name: str, data: bytes) -> None:
    """Too large, too deep, or not text: an error of the job, not of the daemon."""
    with pytest.raises(InvalidOptions):
        build_options(parse_options(name, data), {}, 1_000_000, name)


@given(st.binary(max_size=300), st.sampled_from(["job.toml", "job.json"]))
def test_no_content_gets_past_the_reader(data: bytes, name: str) -> None:
    """Whatever the bytes, there is a result or an InvalidOptions."""
    with suppress(InvalidOptions):
        assert build_options(parse_options(name, data), {}, 1_000_000, name).max_image_pixels <= 1_000_000
