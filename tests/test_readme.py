"""What the README promises, as far as it can be checked quickly."""

from __future__ import annotations

import inspect
import pathlib
import re
import subprocess
import sys

import pytest

from qblif import cli
from qblif.sim import pipeline, report

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


def tracked_files() -> list[pathlib.Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def make(*arguments: str) -> str:
    return subprocess.run(["make", "--no-print-directory", *arguments], cwd=ROOT, check=True, capture_output=True,
                          text=True).stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_or_heading_resolves(document):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        path = (document.parent / name) if name else document
        assert path.exists(), f"{document.name} links to {target}"
        if heading:
            headings = {re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
                        for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")}
            assert heading in headings, f"{document.name} links to {target}"


def test_make_help_lists_every_target_and_is_the_default():
    listed = make()
    assert listed == make("help")
    for target in ("sim", "test", "test-all", "lint", "clean", "help", "wheel", "bitstream", "bench"):
        assert re.search(rf"^  make {target} ", listed, re.M), f"make help does not list {target}"


def test_every_make_command_in_the_readme_is_a_target():
    commands = re.findall(r"(?:`|^    (?:\w+=\S.*? )?)make ([a-z-]+)((?: [A-Z]+=\S+)*)", README, re.M)
    assert {"sim", "test", "help", "setup", "test-all"} <= {name for name, _ in commands}
    for name, variables in commands:
        make("-n", name, *variables.replace("`", "").split())


def test_the_variables_of_make_sim_reach_the_command():
    shown = make("-n", "sim", "SIM=icarus", "IMAGES=2", "T=4", "N=5", "FRESH=1", "WAVES=w.vcd")
    for part in ("--simulator icarus", "--images 2", "--steps 4", "--levels 5", "--fresh", "--waves w.vcd"):
        assert part in shown


def test_the_folder_of_a_bitstream_is_the_commands_choice_unless_it_is_said():
    assert "--out" not in make("-n", "bitstream", "BOARD=pynq-z2", "TOOLCHAIN=openxc7")
    assert "--out elsewhere" in make("-n", "bitstream", "OUT=elsewhere")


def test_make_wheel_leaves_the_file_that_the_documents_copy_to_a_board():
    assert re.search(r"pip wheel .*--no-deps.* -w dist \.$", make("-n", "wheel"), re.M)
    assert "scp dist/qblif-*.whl" in (ROOT / "docs" / "pynq.md").read_text(encoding="utf-8")


def test_every_qblif_command_in_the_readme_exists():
    named = set(re.findall(r"`qblif ([a-z]+)", README))
    assert {"train", "fold", "plan", "compile", "run", "inspect"} <= named
    for name in named:
        with pytest.raises(SystemExit) as stopped:
            cli.main([name, "--help"])
        assert stopped.value.code == 0


def test_the_result_and_the_table_of_the_readme_read_as_the_program_prints_them():
    assert re.search(r"^    result: images=360 mismatches=0 accuracy=\d+\.\d\d cycles=\d+$", README, re.M)
    printed = inspect.getsource(report) + inspect.getsource(pipeline)
    for words in ("compared with the golden model", "layer, per image", "input bits set", "dense MACs",
                  "cycles per image", "scan efficiency", "lane utilisation", "quantised PyTorch: logits of"):
        assert words in README
        assert words in printed


def test_the_examples_of_the_api_page_run():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    first, second = re.findall(r"```python\n(.*?)```", text, re.S)
    shown = f"{first}print(network.steps)\n{second}print(len(gen.neurons(module)))\n"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=False)
    assert done.stdout == "4\n5\n", done.stderr


def test_every_name_of_the_api_page_exists():
    from qblif import gen

    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name in sorted(set(re.findall(r"`gen\.(\w+)", text))):
        assert hasattr(gen, name), f"docs/api.md names gen.{name}"


def test_the_layout_names_every_folder_of_the_repository():
    listed = set(re.findall(r"^\| `(\w+)/` \|", README, re.M))
    there = {path.relative_to(ROOT).parts[0] for path in tracked_files() if len(path.relative_to(ROOT).parts) > 1}
    assert listed == {name for name in there if not name.startswith(".")}


def test_the_pinned_versions_lie_within_the_bounds_of_the_project():
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "requirements.txt").read_text(), re.M))
    names = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    for line in requires("qblif"):
        requirement = Requirement(line)
        if requirement.name != "qblif":
            version = names[requirement.name.lower()]
            assert requirement.specifier.contains(version), f"{line} does not allow the pinned {version}"


def test_the_table_of_recipes_has_all_of_them():
    from qblif.gen.training import recipe

    lines = (ROOT / "docs" / "training.md").read_text(encoding="utf-8").splitlines()
    rows = lines[lines.index("| recipe | network | T, N | whose |") + 2:]
    rows = rows[:rows.index("")]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert sorted(named) == sorted(recipe.names())
