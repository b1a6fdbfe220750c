"""The command line as a user meets it."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from rich.console import Console

import metarl
from metarl import progress, registry
from metarl.__main__ import main
from metarl.commands import evaluate, reproduce, run_folder, train
from metarl.commands.presets import PRESETS
from metarl.commands.run import Run, Uniform
from metarl.commands.scope import Scope
from metarl.commands.table import Measured
from metarl.errors import ConfigError
from metarl.outer import GradientDescent

SMALL = ["--policy-kwargs", '{"hidden": [8]}', "--rollouts.trajectories", "3", "--meta-batch", "2", "--iterations", "2"]
SMALL += ["--validate-every", "1", "--validation-tasks", "2", "--evaluation-tasks", "3"]


def parse(preset, *arguments):
    return train.parse(preset, train.settings_of(preset), list(arguments))[0]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "navigation", *SMALL, "--run-dir", str(folder)]) == 0
    return folder


def test_train_leaves_a_run_folder(run_dir):
    names = {path.name for path in run_dir.iterdir()}
    assert {"config.json", "checkpoint.pt", "evaluation.json", "adaptation.png"} <= names
    assert list(run_dir.glob("tensorboard_1/events*"))
    config = json.loads((run_dir / "config.json").read_text())
    assert config["policy_kwargs"] == {"hidden": [8]}
    assert config["options"]["rate"] == 0.05
    assert config["outer_options"]["max_kl"] == 0.02
    assert config["rollouts"]["trajectories"] == 3
    assert json.loads((run_dir / "evaluation.json").read_text())["tasks"] == 3


def test_a_run_is_neither_overwritten_nor_resumed_as_another(run_dir, capsys):
    arguments = ["train", "navigation", *SMALL, "--run-dir", str(run_dir)]
    assert main(arguments) == 1
    assert "already holds a run: add --resume" in capsys.readouterr().err
    assert main([*arguments, "--resume", "--seed", "5"]) == 1
    assert "holds another run, different in seed (0 there, 5 here)" in capsys.readouterr().err
    assert main([*arguments, "--resume", "--rate", "0.2"]) == 1
    assert "different in options.rate (0.05 there, 0.2 here)" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    assert "going on after 2 iterations" in capsys.readouterr().out


def test_evaluate_and_plot(run_dir, tmp_path, capsys):
    out = tmp_path / "evaluation.json"
    kept = json.loads((run_dir / "evaluation.json").read_text())
    assert main(["evaluate", str(run_dir), "--tasks", "3", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["mean"] == kept["mean"]  # of the best iterate, as training left it
    assert main(["evaluate", str(run_dir), "--tasks", "2", "--steps", "2", "--json", str(out)]) == 0
    assert len(json.loads(out.read_text())["mean"]) == 3
    assert main(["plot", str(run_dir), "--out", str(tmp_path / "pictures")]) == 0
    assert {path.stem for path in (tmp_path / "pictures").iterdir()} == {
        *("curve", "speed", "evaluation", "adaptation", "returns", "updates", "rates"),
    }
    assert main(["evaluate", str(run_dir), "--json", str(tmp_path / "nowhere" / "x.json")]) == 1
    assert "is in no folder that exists" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "nothing")]) == 1
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sine", "--trpo.max-kl", "1"), "--trpo.max-kl belongs to --outer trpo, which is for policies"),
        (
            ("navigation", "--outer", "policy_gradient", "--trpo.max-kl", "1"),
            "--trpo.max-kl belongs to --outer trpo; this run's outer loop is policy_gradient",
        ),
        (("navigation", "--gradient.clip-norm", "1"), "belongs to --outer policy_gradient; this run's outer loop is trpo"),
        (
            ("navigation", "--alpha.clamp"),
            "--alpha.clamp belongs to --outer hypergradient_descent; this run's outer loop is trpo",
        ),
        (("sine", "--rollouts.trajectories=3"), "--rollouts.trajectories belongs to policies; metarl/Sine-v0 has few-shot"),
        (("omniglot", "--agent", "protonet", "--rate", "1"), "protonet has no such option"),
        (("omniglot", "--agent", "scratch", "--meta-batch", "4"), "scratch has no such option"),
        (("sine", "--agent", "meta-lstm", "--no-first-order"), "--no-first-order belongs to --agent maml"),
        (("omniglot", "--agent", "nearest-neighbour", "--inner_steps", "2"), "--inner_steps belongs to --agent"),
        (("navigation", "--batch-norm", "support"), "--batch-norm belongs to predictors"),
        (("navigation", "--agent", "maml", "--rate", ".1", ".2", ".3"), "has 3 numbers for inner_steps=1"),
        (("navigation", "--agent", "maml", "--agent-kwargs", '{"rate": [1, 2, 3]}'), "has 3 numbers for inner_steps=1"),
        (("sine", "--outer", "trpo"), "--outer trpo is for policies; metarl/Sine-v0 has predictors"),
        (("omniglot", "--agent", "finetuning", "--outer", "gradient_descent"), "its outer loop is pretraining"),
        (("omniglot", "--agent", "scratch", "--outer", "gradient_descent"), "has no outer loop"),
        (("images", "--agent", "scratch", "--iterations", "7"), "--iterations has no effect: scratch has no outer loop"),
        (("images", "--agent", "scratch", "--validate-every=3"), "--validate-every has no effect: scratch has no outer"),
        (("images", "--agent", "scratch", "--no-progress-bar"), "--no-progress-bar has no effect: scratch has no outer"),
        (("navigation", "--root", "x"), "--root has no effect: metarl/Navigation2D-v0 reads no data"),
        (
            ("turtle-sine-5", "--run-dir", "never", "--evaluation-tasks", "2001"),
            "evaluation_tasks=2001 is more than the 2000 of",
        ),
        (("turtle-sine-5", "--run-dir", "never", "--validation-tasks", "1001"), "validation_tasks=1001 is more than the 1000"),
        (("navigation", "--itertions", "1"), "--itertions is no option: did you mean --iterations"),
        (("navigation", "--trpo.max-k", "1"), "--trpo.max-k is no option: did you mean --trpo.max-kl"),
        (("navigation", "--agent", "mamml"), "agent='mamml' is not known: did you mean 'maml'"),
        (("navigation", "--env", "metarl/Navigatoin2D-v0"), "env='metarl/Navigatoin2D-v0' is not known: did you mean"),
        (("navigation", "--agent-kwargs", '{"hiden": 1}'), "agent_kwargs of meta-sgd='hiden' is not known"),
        (("navigation", "--agent-kwargs", '{"rate": 1}', "--rate", "1"), "give --rate once"),
        (("navigatoin",), "preset='navigatoin' is not known: did you mean 'navigation'"),
        (("turtle-sine/T=1, LSM",), "row='T=1, LSM' is not known: did you mean 'T=1, LSTM'"),
    ],
)
def test_what_has_no_effect_is_refused_in_one_line(arguments, said, capsys):
    assert main(["train", *arguments]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_commands_close_the_agents_that_they_make(run_dir, tmp_path, monkeypatch):
    closed, close = [], metarl.Agent.close
    monkeypatch.setattr(metarl.Agent, "close", lambda agent: closed.append(agent) or close(agent))
    assert main(["evaluate", str(run_dir), "--tasks", "1"]) == 0
    assert main(["plot", str(run_dir), "--out", str(tmp_path)]) == 0
    assert main(["train", "navigation", *SMALL, "--run-dir", str(run_dir), "--resume", "--evaluation-tasks", "1"]) == 0
    assert len(closed) == len(set(map(id, closed))) == 3


def test_the_last_iterate_is_tuned_too(run_dir, monkeypatch):
    tuned = []
    monkeypatch.setattr(train, "tune", lambda agent, console: tuned.append(agent))
    assert [evaluate.load(str(run_dir), last=last) for last in (False, True)] == tuned


SMALL_IMAGES = ["--env-kwargs", '{"shots": 1, "queries": 2}', "--policy-kwargs", '{"filters": 2, "downsampling": "stride"}']


@pytest.mark.usefixtures("image_data")
def test_an_agent_that_learns_nothing_leaves_a_run_folder_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(metarl.Agent, "pictures", lambda agent: {})
    arguments = ["train", "omniglot", "--agent", "scratch", *SMALL_IMAGES, "--run-dir", str(tmp_path / "run")]
    arguments += ["--inner-steps", "1", "--evaluation-tasks", "2"]
    assert main(arguments) == 0
    assert "iterations" not in capsys.readouterr().out
    assert {"config.json", "checkpoint.pt", "evaluation.json"} <= {path.name for path in (tmp_path / "run").iterdir()}
    assert main([*arguments, "--resume"]) == 0


@pytest.mark.usefixtures("image_data")
def test_steps_that_an_evaluation_cannot_take_are_refused_before_the_training(tmp_path, capsys):
    arguments = ["train", "omniglot", "--agent", "protonet", *SMALL_IMAGES, "--run-dir", str(tmp_path / "run")]
    assert main([*arguments, "--iterations", "1", "--evaluation-steps", "3"]) == 1
    assert "evaluation_steps=3: protonet takes no inner steps; leave it out" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_preset_values_that_do_not_apply_are_left_out():
    run = parse("omniglot", "--agent", "finetuning")
    assert (run.outer, run.options["rate"], run.options["meta_batch"], run.options["inner_steps"]) == (
        "pretraining",
        1e-3,
        16,
        100,
    )
    assert run.outer_options["learning_rate"] == 1e-3
    run = parse("maml-navigation", "--agent", "meta-sgd")
    assert run.options["rate"] == 0.1  # two rates are not one
    run = parse("turtle-sine-5", "--agent", "maml")
    assert run.options["rate"] == 0.1  # nor is none
    assert "beta" not in run.options
    run = parse("navigation-unscaled", "--env", "metarl/Sine-v0")
    assert (run.outer, run.policy, run.policy_kwargs, run.env_kwargs) == ("gradient_descent", "MLP", {}, {})
    assert run.rollouts is None
    run = parse("navigation-unscaled", "--env", "metarl/Navigation2DVaryingStart-v0")
    assert run.env_kwargs == {"action_scale": 1.0, "action_limit": 10.0}
    assert parse("omniglot", "--agent", "scratch").outer == ""


def test_options_reach_the_run():
    run = parse("sine", "--agent", "turtle", "--inner-steps", "5", "--agent-kwargs", '{"hidden": [20, 20]}')
    assert (run.options["hidden"], run.options["inner_steps"], run.options["rate"]) == ([20, 20], 5, 0.05)
    run = parse("sine", "--agent", "turtle", "--hidden", "4", "3", "--rate", "--gradient.no-compile")
    assert (list(run.options["hidden"]), run.options["rate"], run.outer_options["compile"]) == ([4, 3], None, False)
    for written, value in (((), None), ((), True), (("False",), False), (("None",), None)):
        given = ("--gradient.recompute-steps", *written) if (written, value) != ((), None) else ()
        assert parse("sine", *given).outer_options["recompute_steps"] is value
    run = parse("maml-navigation", "--rate", "0.5", "0.3", "--adapted", "head", "--rollouts.gae-lambda", "0.5")
    assert (list(run.options["rate"]), run.options["adapted"], run.rollouts["gae_lambda"]) == ([0.5, 0.3], "head", 0.5)
    run = parse("navigation", "--outer=policy_gradient", "--gradient.learning-rate", "0.5", "--seed", "7", "--first-order")
    assert (run.outer, run.outer_options["learning_rate"], run.seed, run.options["first_order"]) == (
        "policy_gradient",
        0.5,
        7,
        True,
    )


def test_alpha_maml_takes_trpos_direction_where_the_outer_loop_is_trpo():
    run = parse("navigation", "--agent", "alpha-maml", "--trpo.max-kl", "0.5")
    assert run.outer == "hypergradient_descent"
    assert run.outer_options["alpha_hyper"] == 2e-5
    assert run.outer_options["trpo"]["max_kl"] == 0.5
    loop = run.outer_loop()
    assert (loop.trpo.max_kl, loop.trpo.damping) == (0.5, 0.1)
    assert parse("navigation", "--agent", "alpha-maml", "--outer", "hypergradient_descent").outer_options["trpo"] is None
    assert parse("alpha-maml-sine").outer_options["trpo"] is None


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_run_of_its_agent_and_of_others(preset):
    settings = PRESETS[preset][1]
    run = Run.of(settings)
    assert run.agent == settings["agent"]
    assert run.iterations == settings["iterations"]
    names = {group.full(option) for group in Scope.of(settings).groups for option in group.options}
    for name, value in settings.items():
        if name in names:
            prefix, _, option = name.rpartition(".")
            part = run.options if not prefix else run.rollouts if prefix == "rollouts" else run.outer_options
            assert part[option] == value
    assert Run.of(settings, agent="turtle").agent == "turtle"
    assert run.outer_loop() is not None


def test_a_settings_unknown_option_is_refused():
    with pytest.raises(ConfigError, match=r"option='trpo.max_k' is not known: did you mean 'trpo.max_kl'"):
        Run.of({"agent": "maml", "trpo.max_k": 1.0})
    assert Run.of({"agent": "maml", "rate": Uniform(0.5, 0.5)}).options["rate"] == 0.5


def test_a_rows_settings_can_be_trained():
    run = parse("meta-sgd-table-4/best found, varying start: MAML", "--seed", "3")
    assert (run.agent, run.env, run.seed) == ("maml", "metarl/Navigation2DVaryingStart-v0", 3)


def test_an_agent_of_ones_own_appears_everywhere(capsys):
    @dataclass(frozen=True)
    class Options:
        spring: float = 1.5
        """How it springs."""
        meta_batch: int | None = None
        seed: int = 0

    made = []

    class Mine:
        def __init__(self, policy, env, **options):
            made.append((policy, env, options))

    Mine.Options = Options
    metarl.register_agent("mine", Mine, "an agent of one's own", outer_loops=["gradient_descent"])
    try:
        assert main(["list", "agents"]) == 0
        assert "an agent of one's own" in capsys.readouterr().out
        run = parse("sine", "--agent", "mine", "--spring", "2")
        run.make(verbose=1)
        policy, env, options = made[0]
        assert (policy, env, options["spring"], options["meta_batch"], options["verbose"]) == (
            "MLP",
            "metarl/Sine-v0",
            2.0,
            4,
            1,
        )
        assert options["outer"].clip_norm == 1.0
        assert options["env_kwargs"]["shots"] == 5
        assert options["rollouts"] is None
        with pytest.raises(SystemExit):
            main(["train", "sine", "--agent", "mine", "--help"])
        said = capsys.readouterr().out
        assert "--spring" in said
        assert "How it springs." in said
        assert "--trpo" not in said
    finally:
        registry.AGENTS.remove("mine")


@dataclass(frozen=True)
class Still(GradientDescent):
    """Moves nothing."""

    patience: int = 3
    """How long it waits."""


def test_an_outer_loop_of_ones_own_can_be_chosen():
    metarl.register_outer_loop("still", Still, "moves nothing", ("policies",))
    try:
        run = parse("navigation", "--agent", "turtle", "--outer", "still", "--still.patience", "5")
        assert run.outer_loop() == Still(patience=5)
        assert parse("navigation").outer == "trpo"  # the default stays
        with pytest.raises(ConfigError, match=r"--outer still is for policies; metarl/Sine-v0 has predictors"):
            parse("sine", "--outer", "still")
        with pytest.raises(ConfigError, match=r"--outer still does not fit alpha-maml"):
            parse("navigation", "--agent", "alpha-maml", "--outer", "still")
    finally:
        registry.OUTER_LOOPS.remove("still")


def test_a_folder_of_an_earlier_version_is_resumed_by_what_it_says():
    run = Run.of(PRESETS["navigation"][1])
    old = {"agent": "meta-sgd", "env": run.env, "policy": "MlpPolicy", "seed": 0, "dtype": "float32", "rate": [0.05]}
    assert run_folder.differences(old, run) == []
    assert run_folder.differences({**old, "seed": 1}, run) == ["seed (1 there, 0 here)"]
    here = json.loads(json.dumps(run.as_dict()))
    assert run_folder.differences({**here, "iterations": 7, "root": "elsewhere"}, run) == []
    assert run_folder.differences({**here, "env_kwargs": {"a": 1}}, run) == ["env_kwargs ({'a': 1} there, {} here)"]


def test_help_and_unknown_commands(capsys):
    assert main(["--help"]) == 0
    assert main(["--version"]) == 0
    assert main(["trian"]) == 2
    assert "'trian' is not a command: did you mean 'train'?" in capsys.readouterr().err
    assert main(["train", "--help"]) == 0
    assert "protonet-omniglot-small" in capsys.readouterr().out
    assert main(["train"]) == 2
    with pytest.raises(SystemExit) as leaving:
        main(["train", "maml-navigation", "--help"])  # its rates are a tuple
    assert leaving.value.code == 0
    for command in ("evaluate", "reproduce", "plot", "report", "list"):
        with pytest.raises(SystemExit) as leaving:
            main([command, "--help"])
        assert leaving.value.code == 0
    assert main(["reproduce", "meta-sgd-table-5"]) == 1
    assert "table='meta-sgd-table-5' is not known: did you mean 'meta-sgd-table-" in capsys.readouterr().err
    assert main(["reproduce", "maml-sine", "--json", "nowhere/table.json"]) == 1
    assert "is in no folder that exists: make " in capsys.readouterr().err
    assert main(["reproduce", "maml-sine", "--seeds", "0"]) == 1
    assert "seeds=0 must be above zero" in capsys.readouterr().err
    assert main(["reproduce", "maml-sine", "--picture", "x.png"]) == 1
    assert "maml-sine has none" in capsys.readouterr().err
    assert main(["reproduce", "maml-sine", "--only", "nothing"]) == 1
    assert "leaves no row of maml-sine: `metarl list maml-sine` names them" in capsys.readouterr().err


def test_list_names_everything(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    for section in registry.REGISTRIES.values():
        assert all(name in said for name in section)
    assert main(["list", "agents"]) == 0
    said = capsys.readouterr().out
    assert "protonet" in said
    assert "navigation" not in said
    assert main(["list", "maml-sine"]) == 0
    said = capsys.readouterr().out  # a table and a preset
    assert "  rate 0.001" in said
    assert "  iterations = 70000" in said


def test_naming_things_imports_nothing_heavy():
    code = """
import sys
from metarl.__main__ import main
statuses = [main(["list"]), main(["--help"]), main(["trian"]), main(["train", "navigatoin"]), main(["reproduce", "x"])]
assert statuses == [0, 0, 2, 1, 1], statuses
print([name for name in ("torch", "stable_baselines3", "matplotlib", "tensorboard") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


class Inline(ThreadPoolExecutor):
    """A pool of processes that is none."""

    def __init__(self, jobs, mp_context, initializer):
        super().__init__(1)


@pytest.fixture
def measured(monkeypatch):
    """Let ``reproduce`` measure at once: a number is its seed plus a tenth of its cell's place."""
    asked = []

    def measure(table, row, seeds, scale, root):
        asked.append((row.name, list(seeds), scale, root))
        return [{cell.name: Measured(seed + i / 10, 0.5) for i, cell in enumerate(row.cells)} for seed in seeds]

    monkeypatch.setattr(reproduce, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(reproduce, "measured", measure)
    return asked


def test_reproduce_writes_the_table(measured, tmp_path, capsys):
    out = tmp_path / "table.json"
    arguments = ["reproduce", "maml-sine", "--only", "rate 0.01", "--scale", "0.00003", "--seeds", "2", "--json", str(out)]
    assert main([*arguments, "--first-seed", "4"]) == 0
    report = json.loads(out.read_text())
    assert set(report) == {"table", "rows", "command", "seconds"}
    assert report["command"].startswith("metarl reproduce maml-sine --only 'rate 0.01'")
    assert sorted(measured) == [("rate 0.01", [4], 0.00003, "data"), ("rate 0.01", [5], 0.00003, "data")]
    assert [row["paper"] for row in report["rows"]] == [0.67, 0.38, 0.35]
    row = report["rows"][1]
    assert row == {
        "cell": "rate 0.01, after 5 steps (scale 3e-05)",
        "paper": 0.38,
        "paper_ci": None,
        "ours": 4.6,
        "ours_ci": 0.5,
        "ours_by_seed": [4.1, 5.1],
        "spread": 0.7071,
        "seeds": 2,
        "verdict": "short by 4.22",
    }
    assert "MAML, sine regression" in capsys.readouterr().out


def test_reproduce_goes_on_from_what_is_finished(measured, tmp_path, capsys):
    out = tmp_path / "table.json"
    partial = tmp_path / "table.json.partial"
    finished = [
        ["rate 0.01", 0, {f"rate 0.01, after {n}": {"mean": 7.0, "ci95": 1.0} for n in ("1 step", "5 steps", "10 steps")}]
    ]
    partial.write_text(json.dumps({"table": "maml-sine", "scale": 0.00003, "seconds": 60, "finished": finished}))
    arguments = ["reproduce", "maml-sine", "--only", "rate 0.01", "--scale", "0.00003", "--json", str(out)]
    assert main([*arguments, "--seeds", "2"]) == 0
    assert [row["ours_by_seed"] for row in json.loads(out.read_text())["rows"]] == [[7.0, 1.0], [7.0, 1.1], [7.0, 1.2]]
    assert [seeds for _, seeds, *_ in measured] == [[1]]
    assert not partial.exists()
    partial.write_text(json.dumps({"table": "maml-sine", "scale": 1.0, "seconds": 0, "finished": []}))
    assert main(arguments) == 1
    assert "table.json.partial is of another table or scale" in " ".join(capsys.readouterr().err.split())


def test_seeds_that_train_side_by_side_are_measured_together(measured):
    assert main(["reproduce", "turtle-sine", "--only", "T=1, LSTM2", "--seeds", "7"]) == 0
    assert sorted(measured) == [("T=1, LSTM2", [0, 1, 2, 3, 4], 0.05, "data"), ("T=1, LSTM2", [5, 6], 0.05, "data")]


def test_without_a_terminal_a_line_is_said_now_and_then(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.Meter(100, Console(force_terminal=False, width=80)) as meter:
        for step in range(1, 101):
            now[0] += 2.0 if step <= 50 else 0.01
            meter.advance(text=f"at {step}")
    lines = capsys.readouterr().out.splitlines()
    tenths = [f"{done}/100 at {done} ({2 * done} s)" for done in (10, 20, 30, 40, 50)]
    assert lines == [*tenths, "100/100 at 100 (101 s)"]  # the last half took half a second: one line
    with progress.Meter(1000, Console(force_terminal=False, width=80)) as meter:
        for _ in range(3):
            now[0] += 31
            meter.advance()
    assert capsys.readouterr().out.splitlines() == ["1/1000 (31 s)", "2/1000 (62 s)", "3/1000 (93 s)"]


@pytest.mark.parametrize(("words", "interval"), [((), 3), (("--gradient.steps-per-call", "10"), 100)])
def test_steps_of_a_call_are_logged_seldom_unless_one_says_how_often(words, interval):
    run = parse("sine", "--iterations", "300", *words)
    assert train.Train().resolved("sine", run).log_interval == interval
