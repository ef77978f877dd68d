"""`# GFLOW` lines: where they count, what they may hold, and that wrong ones are named with file and line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.cli import directives, gbatch, sbatch
from gflow.cli.command import UsageError
from gflow.cli.gbatch import DIRECTIVES, EXCLUSIVE


def read(text):
    return directives.read(text, "job.sh", DIRECTIVES, EXCLUSIVE)


def test_the_script_of_the_manual():
    text = "#!/bin/bash\n# GFLOW --time 3:00:00\n# GFLOW --gpus 2\n# GFLOW --priority 20\n\necho\n"
    assert read(text) == {"time": 10800, "gpus": 2, "priority": 20}


def test_values_may_be_joined_quoted_and_share_a_line():
    text = "# GFLOW --name='my job' --gpus=1\n# GFLOW --chdir \"/a b\" --shared --gpu-memory 20G\n"
    assert read(text) == {"name": "my job", "gpus": 1, "chdir": "/a b", "shared": True, "gpu_memory": 20480}


def test_dependencies_names_retries_and_arrays_count():
    text = "# GFLOW --depends-on 3\n# GFLOW --max-retries 2\n# GFLOW --array 1-3%2\n# GFLOW --job-name x\n"
    wanted = {"depends_on": ([(3, 3)], "All", False), "max_retries": 2, "array": ((1, 2, 3), 2), "name": "x"}
    assert read(text) == wanted


def test_a_sweep_counts():
    text = "# GFLOW --param lr=1,2 --param seed=1:3\n# GFLOW --param-file more.csv --key run --group g\n"
    text += "# GFLOW --name-template 'x {lr}' --hold-after-failures 3 --dependency afterany:@:7\n"
    assert read(text) == {
        "param": [("lr", ["1", "2"]), ("seed", ["1", "2", "3"])],
        "param_file": "more.csv",
        "key": "run",
        "group": "g",
        "name_template": "x {lr}",
        "hold_after_failures": 3,
        "depends_on": (["@", (7, 7)], "All", True),
    }


def test_an_array_of_the_command_line_replaces_the_sweep_of_a_script_and_the_other_way_round():
    sweep = read("# GFLOW --param lr=1,2\n# GFLOW --param-file more.csv\n")
    array = read("# GFLOW --array 1-3\n")
    line = {"array": None, "param": None, "param_file": None}
    merged = directives.merge(line | array, sweep, EXCLUSIVE, added=("param",))
    assert merged == line | array
    assert directives.merge(line | {"param": [("a", ["1"])]}, array, EXCLUSIVE, added=("param",))["array"] is None
    both = directives.merge(line | {"param": [("a", ["1"])]}, sweep, EXCLUSIVE, added=("param",))
    assert both == {"array": None, "param": [("lr", ["1", "2"]), ("a", ["1"])], "param_file": "more.csv"}


def test_addresses_add_up_over_lines_and_those_of_the_command_line_come_after_them():
    said = read("# GFLOW --notify-email a@b --notify-email c@d\n# GFLOW --notify-email e@f --notify-on job_failed\n")
    assert said == {"notify_email": ["a@b", "c@d", "e@f"], "notify_on": [["job_failed"]]}
    given = {"notify_email": ["g@h"], "notify_on": [["job_started"]]}
    merged = directives.merge(given, said, EXCLUSIVE, added=("notify_email",))
    assert merged == {"notify_email": ["a@b", "c@d", "e@f", "g@h"], "notify_on": [["job_started"]]}
    assert directives.merge({"notify_email": None}, said, added=("notify_email",)) == said
    assert directives.merge({"notify_email": None}, {}, added=("notify_email",)) == {"notify_email": None}


def test_only_the_comment_block_before_the_first_command_counts():
    text = (
        "#!/bin/sh\n\n# a note\n  # indented note\n# GFLOW --gpus 1\ncat <<E\n# GFLOW --gpus 8\nE\n# GFLOW --gpus 9\n"
    )
    assert read(text) == {"gpus": 1}


@pytest.mark.parametrize(
    "line", ["#GFLOW --gpus 1", " # GFLOW --gpus 1", "## GFLOW --gpus 1", "# GFLOWER", "# gflow --gpus 1", "# GFLOW"]
)
def test_other_comments_are_comments(line):
    assert read(f"{line}\n") == {}


def test_carriage_returns_do_not_become_part_of_a_value():
    assert read("#!/bin/sh\r\n# GFLOW --name x\r\n# GFLOW --gpus 1\r\necho\r\n") == {"name": "x", "gpus": 1}


@pytest.mark.parametrize(
    ("directive", "complaint"),
    [
        ("--param lr", "is not NAME=VALUES"),
        ("--array 3-1", "is empty"),
        ("--dependency after:1", "'after' is not known here"),
        ("--wrap x", "No such option"),
        ("--nosuch 1", "No such option '--nosuch'"),
        ("--gpu 1", "--gpus"),
        ("--time 0", "longer than 0"),
        ("--gpus", "requires an argument"),
        ("--shared=yes", "does not take a value"),
        ("--gpus 1 stray", "unexpected extra argument"),
        ("stray", "unexpected extra argument"),
        ("--dry-run", "No such option"),
        ("--wait", "No such option"),
        ("--config x", "No such option"),
        ("--notify-email a", "invalid e-mail address 'a'"),
        ("--notify-on job_exploded", "unknown event 'job_exploded'"),
        ("--name 'open", "No closing quotation"),
        ("--gpus 1 # two", "unexpected extra argument"),
    ],
)
def test_a_wrong_directive_is_named_with_file_and_line(directive, complaint):
    with pytest.raises(UsageError, match=complaint) as caught:
        read(f"#!/bin/sh\n# GFLOW {directive}\n")
    assert str(caught.value).startswith("job.sh:2: # GFLOW: ")
    assert "\n" not in str(caught.value)


def test_contradicting_directives_are_refused():
    with pytest.raises(UsageError, match="--depends-on and --depends-on-any cannot be used together"):
        read("# GFLOW --depends-on 1\n# GFLOW --depends-on-any 1,2\n")


def test_the_command_line_wins():
    said = {"gpus": 2, "time": 60, "shared": True, "depends_on": (1, 1)}
    line = {"gpus": 0, "time": None, "shared": False, "depends_on": None, "depends_on_any": [(5, 5)]}
    merged = directives.merge(line, said, EXCLUSIVE)
    assert merged == {"gpus": 0, "time": 60, "shared": True, "depends_on": None, "depends_on_any": [(5, 5)]}


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\n\r"), max_size=30), max_size=6))
def test_no_script_makes_the_reader_stumble(lines):
    complaint = "job.sh:"
    try:
        read("\n".join(f"# GFLOW {line}" for line in lines))
    except UsageError as error:
        complaint = str(error)
    assert complaint.startswith("job.sh:")


WORDS = [
    "--time=",
    "-t",
    "1-12",
    "0",
    "--gres=gpu:",
    "a100:",
    "2",
    ",",
    "--mem",
    "--begin=now+",
    "60",
    "-",
    "--",
    "'",
    "=",
    " ",
]


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map("".join), max_size=3))
def test_no_script_for_slurm_makes_the_reader_stumble(lines):
    complaint = "job.sh:"
    try:
        sbatch.read("\n".join(f"#SBATCH {line}" for line in lines), "job.sh", DIRECTIVES)
    except UsageError as error:
        complaint = str(error)
    assert complaint.startswith("job.sh:")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# GFLOW --name x\n# GFLOW --chdir /no/where\n", "2: # GFLOW: --chdir: /no/where is not a directory"),
        ("# GFLOW --shared\n", "1: # GFLOW: --shared needs --gpu-memory"),
        ("# GFLOW --signal USR1\n", "1: # GFLOW: --signal needs --time"),
        ("#\n#SBATCH --chdir=/no/where\n", "2: #SBATCH: --chdir: /no/where is not a directory"),
        ("# GFLOW --chdir /no/where\n#SBATCH -D /no\n", "1: # GFLOW: --chdir: /no/where is not"),
    ],
)
def test_what_is_found_wrong_later_is_named_with_file_and_line_too(run, tmp_path, text, complaint):
    script = tmp_path / "job.sh"
    script.write_text(f"{text}true\n")
    outcome = run(gbatch.COMMAND, "--dry-run", "--sbatch", str(script))
    assert outcome.status != 0
    assert f"gbatch: {script}:{complaint}" in outcome.err


def test_what_the_command_line_says_is_not_blamed_on_the_script(run, tmp_path):
    script = tmp_path / "job.sh"
    script.write_text("# GFLOW --chdir /\ntrue\n")
    assert run(gbatch.COMMAND, "--chdir", "/no", str(script)).err.startswith("gbatch: --chdir: /no is not a directory")
