"""Training configs: TOML in, frozen values out, every mistake named."""

from pathlib import Path

import pytest

import hallo_cli
from hallo_cli.errors import SettingsError
from hallo_cli.training.config import load_config

RECIPES = Path(hallo_cli.__file__).parent.glob("*/recipes/*_stage*.toml")
MINIMAL = '[run]\noutput = "out"\n[data]\nshards = "shards"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


def test_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    assert config.run.output == tmp_path / "out"
    assert config.data.shards == tmp_path / "shards"


def test_values_reach_their_fields(tmp_path: Path) -> None:
    text = MINIMAL + (
        '[objective]\ntrain = ["spatial", "audio"]\nregions = [0.1, 1, 4, 0]\naudio = true\n'
        "[objective.drops]\nimage = 0\n[optimizer]\nlr = 1\n[start]\nbundle = 'embedded'\n"
    )
    config = load_config(write(tmp_path, text))
    assert config.objective.train == ("spatial", "audio")
    assert config.objective.regions == (0.1, 1.0, 4.0, 0.0)
    assert config.objective.audio is True
    assert config.objective.drops.image == 0.0
    assert config.optimizer.lr == 1.0
    assert config.start.bundle == "embedded"


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    overrides = ["optimizer.lr=0.5", "run.output=elsewhere", "objective.drops.audio=1"]
    config = load_config(write(tmp_path, MINIMAL), overrides)
    assert config.optimizer.lr == 0.5
    assert config.run.output == Path("elsewhere")
    assert config.objective.drops.audio == 1.0
    assert config.data.shards == tmp_path / "shards"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "[optimizer]\nrate = 1\n", "unknown key optimizer.rate"),
        (MINIMAL + "[optimizer]\nwarmpu = 1\n", "did you mean 'warmup'"),
        (MINIMAL + "[optimiser]\nlr = 1\n", "unknown key optimiser"),
        (MINIMAL + "[optimizer]\nlr = 'fast'\n", "optimizer.lr = 'fast' is not a number"),
        (MINIMAL + "[objective]\ntimesteps = 'some'\n", "'uniform' or 'few_step'"),
        (MINIMAL + "[objective]\nregions = [1, 2]\n", "objective.regions"),
        (MINIMAL + "[objective]\nmiddle_timesteps = [600, 400]\n", "objective: middle_timesteps"),
        (MINIMAL + "[objective.drops]\naudio = 2\n", "objective.drops.audio"),
        (MINIMAL + "[optimizer]\nlr = -1\n", "lr = -1 is not at least 0"),
        (MINIMAL + "data = 3\n", "not valid TOML|unknown|data"),
        ("[data]\nshards = 'x'\n", "run must be given"),
        (
            "[run]\noutput = 'o'\nsteps = 0\n[data]\nshards = 'x'\n",
            "run.steps = 0 is not at least",
        ),
        (MINIMAL + "[validation]\npairs = ['a.png']\n", "validation.pairs"),
        (
            MINIMAL + "[start]\nbundle = 2020-01-01\nstage1 = 3\n",
            r"run\.toml: start\.stage1 = 3 is not",
        ),
        ("not toml", "not valid TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_config(write(tmp_path, text))


def test_a_wrong_override_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--set optimizer\.lr=fast: optimizer\.lr = 'fast' is not"):
        load_config(write(tmp_path, MINIMAL), ["run.steps=5", "optimizer.lr=fast"])


def test_pairs_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    text = MINIMAL + "[validation]\npairs = [['a.png', 'a.wav'], ['/b.png', 'b.wav']]\n"
    config = load_config(write(tmp_path, text), ["run.render_every=5"])
    assert config.validation.pairs == (
        (tmp_path / "a.png", tmp_path / "a.wav"),
        (Path("/b.png"), tmp_path / "b.wav"),
    )


@pytest.mark.parametrize("recipe", sorted(RECIPES), ids=lambda path: path.stem)
def test_shipped_recipes_can_be_read(recipe: Path) -> None:
    assert load_config(recipe).run.steps > 0


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.toml cannot be read"):
        load_config(tmp_path / "nothing.toml")


def test_a_malformed_override_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"table\.key=value"):
        load_config(write(tmp_path, MINIMAL), ["optimizer.lr"])
