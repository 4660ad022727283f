"""The shape that the architecture promises: thin shells, light imports, one verb one name, sizes, contracts."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from components.images import PYTHON_IMAGE
from focus_core import config

ROOT = Path(__file__).parents[1]
STEPS = {"ingest", "tile", "pretrain", "train", "evaluate", "promote", "explain", "aggregate", "report"}
OF_SEASONS = {"split", "flights", "gather"}  # they share the settings of a season
OF_RUNS = {*OF_SEASONS, "notify"}  # steps about whole runs, not of the chain
COMMANDS = {"simulate", "run", "season", "export", "rollback", "audit", "verify"}
SHELLS = sorted((ROOT / "components").glob("*/component.py"))
SOURCES = sorted(path for folder in ("focus_core", "components", "pipelines") for path in (ROOT / folder).rglob("*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BRANCHES = (ast.If, ast.While, ast.Try, ast.IfExp, ast.With, ast.Lambda, ast.Raise, ast.Assert)


def tracked():
    """Files that git tracks or would: what a clone of the next commit holds."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: there is no list of tracked files")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def relative(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SHELLS, ids=relative)
def test_a_shell_is_thin(path):
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name.split(".")[0] for name in imported} <= {"kfp", "components", "typing"}
    assert len(source.splitlines()) <= 40
    assert not [node for node in ast.walk(tree) if isinstance(node, BRANCHES)]
    docstring, *rest = tree.body
    assert isinstance(docstring, ast.Expr)
    *imports, shell = rest
    assert all(isinstance(node, ast.ImportFrom) for node in imports)
    assert isinstance(shell, ast.FunctionDef)
    assert shell.name == path.parent.name


@pytest.mark.parametrize("path", SHELLS, ids=relative)
def test_a_shell_calls_the_step_of_its_name_with_every_argument(path):
    verb = path.parent.name
    (shell,) = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
    inside = [node.module for node in ast.walk(shell) if isinstance(node, ast.ImportFrom)]
    assert inside == ["focus_core.config", f"focus_core.steps.{verb}"]
    step_source = (ROOT / "focus_core" / "steps" / f"{verb}.py").read_text(encoding="utf-8")
    (step,) = [n for n in ast.parse(step_source).body if isinstance(n, ast.FunctionDef) and n.name == verb]
    assert [argument.arg for argument in step.args.kwonlyargs] == ["settings"]
    names = [argument.arg for argument in step.args.args]
    required = shell.args.args[: len(shell.args.args) - len(shell.args.defaults)]  # the rest is only waited for
    assert [argument.arg for argument in required] == [*names, "settings", "metrics"]
    settings = f"{'Season' if verb in OF_SEASONS else verb.capitalize()}Settings"
    assert ast.unparse(step.args.kwonlyargs[0].annotation) == settings
    assert settings in config.__all__


def test_one_verb_has_one_name_everywhere():
    from focus_core.cli import commands, steps

    assert {path.parent.name for path in SHELLS} == STEPS | OF_RUNS
    assert {path.stem for path in (ROOT / "focus_core" / "steps").glob("[!_]*.py")} == STEPS | OF_RUNS | {
        "run",
        "season",
    }
    assert [verb.__name__ for verb in steps.VERBS] == list(config.RunSettings.model_fields)
    assert {verb.__name__ for verb in steps.VERBS} == STEPS
    assert {verb.__name__ for verb in commands.VERBS} == COMMANDS


@pytest.mark.parametrize(
    ("module", "banned"),
    [
        ("focus_core", "torch mlflow kfp xarray numpy"),
        ("focus_core.cli", "torch mlflow kfp xarray numpy"),
        ("focus_core.config", "torch mlflow kfp xarray"),
        ("focus_core.cubes.publish", "torch mlflow kfp xarray"),
        ("focus_core.tracking", "torch mlflow kfp"),
        ("focus_core.steps.ingest", "torch mlflow kfp"),
        ("focus_core.steps.tile", "torch mlflow kfp"),
        ("focus_core.steps.aggregate", "torch mlflow kfp"),
    ],
)
def test_imports_are_light(module, banned):
    loaded = run_python(f"import sys, {module}; print(*sys.modules)").split()
    assert not set(banned.split()) & set(loaded)


def test_the_import_contract_is_kept():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "0 broken" in found.stdout


def test_the_image_constant_and_infra_agree():
    name, tag = PYTHON_IMAGE.rsplit(":", 1)
    text = (ROOT / "infra" / "images" / f"{name.removeprefix('focus-')}.Containerfile").read_text(encoding="utf-8")
    assert "python" in name  # kfp's local runner warns otherwise
    assert tag == version("focus-core")
    assert PYTHON_IMAGE in text


def test_torch_and_the_build_backend_are_locked_as_pyproject_pins_them():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pins = [
        *project["build-system"]["requires"],
        *[item for item in project["project"]["dependencies"] if "==" in item],
        *[item for items in project["project"]["optional-dependencies"].values() for item in items if "==" in item],
    ]
    base, torch = ((ROOT / "requirements" / name).read_text(encoding="utf-8") for name in ("base.txt", "torch.txt"))
    assert all(re.search(rf"^{re.escape(pin)}\b", base + torch, flags=re.MULTILINE) for pin in pins)
    of_torch = re.findall(r"^([a-z0-9_.-]+)==", torch, flags=re.MULTILINE)
    assert {"torch", "torchvision"} <= set(of_torch)
    assert all(re.match(r"(torch|torchvision|triton|cuda-.*|nvidia-.*)$", name) for name in of_torch)
    assert not re.search(r"^(torch|torchvision|nvidia-.*)==", base, flags=re.MULTILINE)


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_modules_and_functions_are_short(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 300
    lengths = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(source))
        if isinstance(node, FUNCTIONS)
    }
    assert {name: lines for name, lines in lengths.items() if lines > 80} == {}


def test_contributing_fits_on_a_screen():
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 50


def test_nothing_large_lies_among_the_tests():
    sizes = {relative(path): path.stat().st_size for path in tracked() if path.is_relative_to(ROOT / "tests")}
    assert {name: size for name, size in sizes.items() if size > 100_000} == {}


def test_no_package_index_and_no_machine_path_is_named():
    """Whoever installs this has an index and paths of their own."""
    index = r"(?:pypi|pythonhosted|anaconda|jfrog|artifactory|nexus)[\w.-]*\.(?:org|io|com|net)|download\.pytorch\.org"
    container = r"\b(?:docker|gcr|ghcr|quay|ecr|registry)[\w.-]*\.(?:io|com|dev)/"
    machine = r"(?<![\w.{}$-])/(?:home|root|Users|work|mnt)/[A-Za-z]\w*"
    pattern = re.compile("|".join((index, container, machine)))
    found = []
    for path in tracked():
        if path == Path(__file__) or path.suffix in {".png", ".jpg", ".gpkg", ".tif", ".npz", ".mat"}:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{relative(path)}: {match.group()}" for match in pattern.finditer(text)]
    assert [item for item in found if not item.endswith(": /home/focus")] == []  # the user in the image


def test_shells_do_not_postpone_annotations():
    """kfp 2.17 reads the annotations themselves; as strings it takes artifacts for parameters."""
    assert [relative(path) for path in SHELLS if "from __future__" in path.read_text(encoding="utf-8")] == []
