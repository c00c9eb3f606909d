"""Rules that no linter knows: which module may do what, how modules depend on each other, what must never be in the tree."""

import ast
import functools
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.repository.files import repository_files

ROOT = Path(__file__).resolve().parents[2]
SERVICES = sorted(path.name for path in (ROOT / "services").iterdir() if (path / "app.py").is_file())

SHELL_FILES = frozenset({"app.py", "handlers.py", "settings.py", "__main__.py", "__init__.py"})
"""Files that every service has: they wire, listen, or read the environment."""
PURE_MARKER = "Pure."
"""Last word of the docstring of a pure module, or of a package whose modules are all pure."""

IMPURE = frozenset(
    {
        *("asyncio", "faststream", "nats", "httpx", "aiohttp", "sqlalchemy", "psycopg", "uvicorn", "opentelemetry"),
        *("argparse", "boto3", "hvac", "os", "random", "secrets", "socket", "stripe", "subprocess", "threading"),
    }
)
CLOCKS = frozenset(
    {
        *(
            ("time", name)
            for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
        ),
        *(("datetime", name) for name in ("now", "utcnow", "today")),
    }
)

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_VAULT_LAYERS = 8


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def parsed(*folders: str, containing: str) -> Iterator[tuple[Path, ast.Module]]:
    """Yield the modules in which this expression matches, parsed; parsing the others would take most of the time."""
    wanted = re.compile(containing)
    for path in python_files(*folders):
        text = path.read_text()
        if wanted.search(text):
            yield path, ast.parse(text)


def service_modules() -> Iterator[Path]:
    """Every module of a service that is neither part of its shell nor a migration."""
    for service in SERVICES:
        for path in sorted((ROOT / "services" / service).rglob("*.py")):
            if path.name not in SHELL_FILES and "migrations" not in path.parts:
                yield path


@functools.cache
def is_marked_pure(path: Path) -> bool:
    """Whether a module, or a package around it, says in its docstring that it is pure."""
    packages = (folder / "__init__.py" for folder in path.parents if (ROOT / "services") in folder.parents)
    return any(says_that_it_is_pure(file) for file in (path, *packages) if file.is_file())


@functools.cache
def says_that_it_is_pure(file: Path) -> bool:
    return (ast.get_docstring(ast.parse(file.read_text())) or "").endswith(PURE_MARKER)


def is_impure_runtime(module: str) -> bool:
    """Whether `module` is part of the runtime and not marked as pure itself."""
    return module.startswith("keyferry.runtime") and not is_marked_pure(
        ROOT / "shared" / f"{module.replace('.', '/')}.py"
    )


def impurities(path: Path) -> list[str]:
    """What a module does besides computing: I/O libraries, async functions, clocks."""
    tree = ast.parse(path.read_text())
    found = [name for name in imports(tree) if name.split(".")[0] in IMPURE or is_impure_runtime(name)]
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef):
            found.append(f"async {node.name}")
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and (node.func.value.id, node.func.attr) in CLOCKS
        ):
            found.append(f"{node.func.value.id}.{node.func.attr}() in line {node.lineno}")
    return found


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def wrongly_marked(path: Path) -> str:
    """Return what is wrong with how a module is marked, or an empty text."""
    found = impurities(path)
    if is_marked_pure(path):
        name = path.relative_to(ROOT)
        return f"{name} says that it is pure, and has {found}: take `now` and facts as arguments" if found else ""
    if (ROOT / "services") in path.parents and not found:
        return f"{path.relative_to(ROOT)} is pure: end its docstring with {PURE_MARKER!r}, so that it stays so"
    return ""


def test_a_module_is_pure_exactly_when_it_says_so() -> None:
    modules = [*service_modules(), *python_files("shared", "deploy")]
    assert len(modules) > len(SERVICES)
    wrong = [text for path in modules if (text := wrongly_marked(path))]
    assert not wrong, "\n".join(wrong)


def test_every_service_has_the_same_files() -> None:
    for service in SERVICES:
        base = ROOT / "services" / service
        for file in ("README.md", "app.py", "settings.py", "handlers.py", "__main__.py"):
            assert (base / file).is_file(), f"services/{service} lacks {file}"
        assert any(base.rglob("*store.py")) == (base / "migrations" / "versions").is_dir()
        readme = (base / "README.md").read_text().lower()
        for heading in ("owns", "subscribes", "publishes", "never"):
            assert heading in readme, f"services/{service}/README.md lacks the heading {heading!r}"


def test_no_file_is_called_for_anything_and_everything() -> None:
    vague = {"utils", "helpers", "common", "misc", "util", "helper", "base"}
    found = [
        str(path.relative_to(ROOT))
        for path in python_files("services", "shared", "deploy", "tests")
        if path.stem in vague
    ]
    assert not found


def test_no_float_where_money_is_counted() -> None:
    money = [
        ROOT / "shared/keyferry/contracts/money.py",
        ROOT / "services/usage_ledger/pricing.py",
        ROOT / "services/router/planning/list_prices.py",
        *(ROOT / "shared/keyferry/pricing").glob("*.py"),
    ]
    assert len(money) >= 6
    for path in money:
        tree = ast.parse(path.read_text())
        floats = [
            node.lineno
            for node in ast.walk(tree)
            if (isinstance(node, ast.Constant) and isinstance(node.value, float))
            or (isinstance(node, ast.Name) and node.id == "float")
        ]
        assert not floats, f"{path.relative_to(ROOT)} uses a float in lines {floats}"


def modules_with_subjects() -> set[Path]:
    """Return the topology, and the parts of it that have a module of their own."""
    folder = ROOT / "shared" / "keyferry" / "contracts"
    parts = ast.walk(ast.parse((folder / "management.py").read_text()))
    return {folder / "topology.py"} | {
        folder / f"{alias.name}.py"
        for node in parts
        if isinstance(node, ast.ImportFrom) and node.module == "keyferry.contracts"
        for alias in node.names
    }


def test_subjects_are_spelled_only_in_the_topology() -> None:
    allowed = modules_with_subjects()
    assert all(path.is_file() for path in allowed)
    spelled = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in python_files("services", "shared", "deploy")
        if path not in allowed
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("kf.v1.")
    ]
    assert not spelled


def test_the_migrations_of_a_service_follow_one_another() -> None:
    """Two that follow the same one are two heads, with which nothing migrates: each follows the one before it by number."""
    for folder in sorted((ROOT / "services").glob("*/migrations/versions")):
        numbers = [None, *sorted(path.name[:4] for path in folder.glob("*.py"))]
        for path in sorted(folder.glob("*.py")):
            (found,) = re.findall(r"^down_revision = (.+)$", path.read_text(), re.MULTILINE)
            before = numbers[numbers.index(path.name[:4]) - 1]
            assert found == ("None" if before is None else f'"{before}"'), f"{path.relative_to(ROOT)} follows {found}"


def test_few_folders_import_an_http_client() -> None:
    """Addresses that tenants name are called through `keyferry.runtime.upstream` alone; these call the installation's own."""
    users = [
        str(path.relative_to(ROOT))
        for path, tree in parsed("services", containing="httpx|aiohttp")
        if any(name.split(".")[0] in ("httpx", "aiohttp") for name in imports(tree))
    ]
    assert users
    folders = ("services/console/sign_in/", "services/billing/")
    assert all(user.startswith(folders) for user in users), users


def import_graph(*folders: str) -> dict[str, set[str]]:
    """Which of our modules each module imports. Shared code is named from `keyferry`, everything else from the root."""
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removeprefix("shared."): path
        for path in python_files(*folders)
        if path.name != "__init__.py"
    }
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        found = graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names} & names.keys()
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)} & names.keys()
    return graph


def test_no_modules_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter(import_graph("services", "shared", "deploy")).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_the_vault_has_few_layers() -> None:
    """Folders and single files of the vault, each one layer above the highest that it imports."""

    def part(module: str) -> str:
        return module.split(".")[2]

    parts: dict[str, set[str]] = {}
    for module, imported in import_graph("services/key_vault").items():
        if "migrations" not in module:
            parts.setdefault(part(module), set()).update({part(other) for other in imported} - {part(module)})
    layers: dict[str, int] = {}
    for name in TopologicalSorter(parts).static_order():
        layers[name] = 1 + max((layers[below] for below in parts[name]), default=0)
    assert max(layers.values()) <= MAX_VAULT_LAYERS, layers


def test_sizes_ratchet() -> None:
    """Numbers to lower when the largest shrinks; raising one is a decision."""
    for path in python_files("services", "shared", "deploy"):
        text = path.read_text()
        assert text.count("\n") <= MAX_FILE_LINES, f"{path.relative_to(ROOT)} is too long to read at once"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                assert length <= MAX_FUNCTION_LINES, f"{where} {node.name} has {length} lines"


def test_broad_excepts_say_why() -> None:
    """A swallowed error is a lie; at the edge of a loop it needs its reason beside it."""
    for path in python_files("services", "shared", "deploy"):
        lines = path.read_text().splitlines()
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.ExceptHandler) and (
                node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException")
            ):
                near = "".join(lines[node.lineno - 1 : node.body[0].lineno])
                assert "#" in near, f"{path.relative_to(ROOT)}:{node.lineno} catches everything without a reason"


def test_nothing_of_the_building_machine_is_in_the_tree() -> None:
    needles = ["/" + "work/main", "/" + "work/shared", "/opt" + "/pypi"]
    for name in repository_files():
        path = ROOT / name
        if path.suffix in (".png", ".ico", ".lock"):
            continue
        text = path.read_text(errors="replace")
        for needle in needles:
            assert needle not in text, f"{name} names {needle}"


def test_numbers_in_text_are_read_by_one_function() -> None:
    """`str.isdigit` accepts what `int` rejects, and `int` takes digits of every script: use `text.parse_digits`."""
    for path, tree in parsed("services", "shared", "deploy", containing="isdigit|isdecimal|isnumeric"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in ("isdigit", "isdecimal", "isnumeric"):
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                assert path.name == "frames.py", f"{where} uses {node.attr}"


def test_expressions_of_the_re_module_match_whole_texts_without_a_dollar_sign() -> None:
    """Python's `$` also matches before a last line break: use `fullmatch`, or `\\Z`."""
    for path, tree in parsed("services", "shared", "deploy", containing=r"\bre\b"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                owner, pattern = node.func.value, node.args[0]
                text = pattern.value if isinstance(pattern, ast.Constant) else ""
                if isinstance(owner, ast.Name) and owner.id == "re" and isinstance(text, str):
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"
                    assert not re.search(r"(?<!\\)\$(?:\||\)|$)", text), (
                        f"{where} ends an expression with a dollar sign"
                    )


RANDOM_CALLS = frozenset({"mint", "new", "token_hex", "token_urlsafe", "token_bytes", "urandom", "uuid4", "uuid7"})


def random_parameters(tree: ast.Module) -> Iterator[int]:
    """Yield the lines of `parametrize` calls whose test ids are made of random values of the module."""
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    def is_random(value: ast.AST, seen: frozenset[str] = frozenset()) -> bool:
        if isinstance(value, ast.Dict):  # parametrize takes its keys
            return any(is_random(key, seen) for key in value.keys if key is not None)
        return any(
            (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in RANDOM_CALLS)
            or (
                isinstance(node, ast.Name)
                and node.id in constants
                and node.id not in seen
                and is_random(constants[node.id], seen | {node.id})
            )
            for node in ast.walk(value)
        )

    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "parametrize":
            named = any(keyword.arg == "ids" and not isinstance(keyword.value, ast.Lambda) for keyword in node.keywords)
            if not named and any(is_random(argument) for argument in node.args[1:]):
                yield node.lineno


def test_ids_of_tests_are_the_same_in_every_process() -> None:
    """The workers of one test run compare what they collected, and give up if it differs."""
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path, tree in parsed("tests", containing="parametrize")
        for line in random_parameters(tree)
    ]
    assert not found, f"give these parameters `ids`, since their values are random: {found}"


def test_random_parameters_are_found() -> None:
    source = """
A = secrets.token_hex()
B = [A, "x"]
C = {"x": secrets.token_hex()}
@pytest.mark.parametrize("a", B)
@pytest.mark.parametrize("a", [make(A)])
@pytest.mark.parametrize("a", B, ids=lambda a: a[:3])
@pytest.mark.parametrize("a", B, ids=["a", "b"])
@pytest.mark.parametrize("a", C)
def test(a): ...
"""
    assert sorted(random_parameters(ast.parse(source))) == [5, 6, 7]
