"""Running one notebook with papermill, by this same interpreter, with its progress shown.

Needs the notebooks extra; `stylelab.runs.notebooks` imports this module when it runs something.
"""

import ast
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.translators import PythonTranslator

from stylelab.errors import SettingError, StylelabError
from stylelab.files.text import printable
from stylelab.runs.jobs import end_with_parent, seconds_between_draws

KERNEL = "python3"
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt} cells, {elapsed}{postfix}"


@contextmanager
def this_interpreter(environment: Mapping[str, str], scratch: Path) -> Iterator[None]:
    """Within it the kernel `python3` is the running interpreter, even if another has that name.

    Args:
        environment: variables that kernels get on top of this process's own.
        scratch: a folder for temporary files.
    """
    spec = scratch / "kernels" / KERNEL / "kernel.json"
    spec.parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    argv.append("--log-level=CRITICAL")  # its log would run into our progress bars
    # Jupyter expands $NAME in these values; $$ stands for a dollar sign.
    escaped = {name: value.replace("$", "$$") for name, value in environment.items()}
    fields = {"argv": argv, "display_name": "Python 3", "language": "python", "env": escaped}
    spec.write_text(json.dumps(fields), encoding="utf-8")
    before = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = os.pathsep.join([str(scratch), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["JUPYTER_PATH"]
        else:
            os.environ["JUPYTER_PATH"] = before


def declared(notebook: Path) -> list[str]:
    """The parameters that a notebook's cell tagged `parameters` assigns; none without such a cell.

    Raises:
        StylelabError: if the file is not a notebook, or that cell not plain Python.
    """
    try:
        cells = nbformat.read(notebook, as_version=4).cells
        sources = [c.source for c in cells if "parameters" in c.metadata.get("tags", ())]
        statements = ast.parse(sources[0]).body if sources else []
    except Exception as error:  # nbformat raises nearly anything on a damaged file
        reason = str(error).partition("\n")[0]
        raise StylelabError(f"{notebook} cannot be read as a notebook: {reason}") from error
    targets = [t for s in statements if isinstance(s, ast.Assign) for t in s.targets]
    targets += [s.target for s in statements if isinstance(s, ast.AnnAssign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, object],
    *,
    cwd: Path,
    progress: bool = True,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run `notebook` with `parameters` in the folder `cwd`, and save it as `output`.

    `output` is saved after each cell, so that it exists even if the run fails. The kernel gets the
    variables of `environment` on top of this process's own.

    Raises:
        SettingError: for a parameter that cannot be injected as it is.
        papermill.PapermillExecutionError: when a cell fails.
    """
    for name, value in parameters.items():
        check_value(name, value)
    bar = {
        "desc": printable(notebook.stem),
        "bar_format": BAR,
        "leave": False,
        "dynamic_ncols": True,
        "miniters": 0,  # only time decides when it is drawn again
        "mininterval": seconds_between_draws(),
    }
    papermill.execute_notebook(
        _literal(notebook),
        _literal(output),
        parameters=dict(parameters),
        engine_name="stylelab",
        kernel_name=KERNEL,
        language="python",
        progress_bar=bar if progress else False,
        cwd=cwd.resolve(),
        environment=environment or {},
    )


def check_value(name: str, value: object) -> None:
    """Check that papermill writes a parameter into a cell as a literal of this very value.

    It puts what it does not know between two quotation marks, whatever is in it.

    Raises:
        SettingError: if it does not.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode()  # names that are not UTF-8 cannot be saved
        (statement,) = ast.parse(PythonTranslator.codify({"value": value})).body
        if ast.literal_eval(statement.value) == value:
            return
    except Exception:  # noqa: S110 (whatever it is, it is refused)
        pass
    raise SettingError(
        f"the parameter {name} must be text, a number, or a list or dict of these, got {value!r}"
    )


def _literal(path: Path) -> str:
    """A path for papermill, which fills in parameters where a path has braces."""
    return str(path.resolve()).replace("{", "{{").replace("}", "}}")


class _Client(PapermillNotebookClient):
    """Papermill's client, which also shows the progress bar of the running cell."""

    def handle_comm_msg(self, outs: list, msg: dict, cell_index: int) -> None:
        super().handle_comm_msg(outs, msg, cell_index)
        widget, bar = self.widget_state.get(msg["content"]["comm_id"], {}), self.nb_man.pbar
        if bar is not None and widget.get("_model_name") == "FloatProgressModel":
            bar.set_postfix_str(f"{widget['value']:.0f} of {widget['max']:.0f}", refresh=False)
            bar.update(0)  # draws it, if it is time to


class _Engine(NBClientEngine):
    """Papermill's own engine with our client, patient with busy machines.

    On Linux the kernel is killed as soon as this process ends, however it ends.
    """

    @classmethod
    def execute_managed_notebook(
        cls, nb_man, kernel_name: str, environment: Mapping[str, str], **ignored: object
    ) -> None:
        client = _Client(nb_man, kernel_name=kernel_name, startup_timeout=300, iopub_timeout=60)
        client.execute(env=os.environ | dict(environment), preexec_fn=end_with_parent())


papermill_engines.register("stylelab", _Engine)


def _is_not_dead_kernel(record: logging.LogRecord) -> bool:
    """After Ctrl-C asyncio reports that the running cell's kernel is dead, which is intended."""
    return not (record.exc_info and isinstance(record.exc_info[1], DeadKernelError))


logging.getLogger("asyncio").addFilter(_is_not_dead_kernel)
