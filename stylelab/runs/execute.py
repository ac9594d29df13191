"""Running one notebook with papermill, by this same interpreter, with its progress shown.

Needs the notebooks extra; other modules of `stylelab.runs` import this one when they run something.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.translators import PythonTranslator

from stylelab.errors import SettingError, StylelabError
from stylelab.files.text import printable
from stylelab.runs import terminal

if TYPE_CHECKING:
    from stylelab.runs.jobs import Job

BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt} cells, {elapsed}{postfix}"


def declared(notebook: Path) -> list[str]:
    """The parameters that a notebook's cell tagged `parameters` assigns, if there is one."""
    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except Exception as error:  # nbformat raises nearly anything on a damaged file
        reason = str(error).partition("\n")[0]
        raise StylelabError(f"{notebook} cannot be read as a notebook: {reason}") from error
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", ())]
    return [found.name for cell in tagged[:1] for found in PythonTranslator.inspect(cell)]


def execute(job: Job, progress: bool) -> None:
    """Run a notebook. It is saved after each cell, so that it exists even if the run fails.

    Raises papermill.PapermillExecutionError when a cell fails.
    """
    bar = {"desc": printable(job.notebook.stem), "bar_format": BAR, **terminal.bar_settings()}
    papermill.execute_notebook(
        _literal(job.notebook),
        _literal(job.executed),
        parameters=dict(job.parameters),
        engine_name="stylelab",
        kernel_name="python3",
        language="python",
        progress_bar=bar if progress else False,
        cwd=job.executed.parent.resolve(),
        environment=job.environment,
    )


def check_value(name: str, value: object) -> None:
    """Check that papermill writes a parameter into a cell as a literal of this very value.

    It does so for what JSON can hold. Other values it would put between quotation marks, unescaped:
    they raise SettingError.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        if json.loads(text.encode()) == value:
            return
    except (TypeError, ValueError, RecursionError):
        pass
    raise SettingError(f"the parameter {name} must be text, a number or a list, got {value!r}")


def _literal(path: Path) -> str:
    """A path for papermill, which fills in parameters where a path has braces."""
    return str(path.resolve()).replace("{", "{{").replace("}", "}}")


class _Client(PapermillNotebookClient):
    """Papermill's client with the running interpreter as its kernel, and the running cell's bar."""

    def create_kernel_manager(self) -> KernelManager:
        manager = super().create_kernel_manager()
        # Without folders to search, `python3` is this interpreter, whatever else has that name.
        manager.kernel_spec_manager = KernelSpecManager(kernel_dirs=[])
        return manager

    def handle_comm_msg(self, outs: list, msg: dict, cell_index: int) -> None:
        super().handle_comm_msg(outs, msg, cell_index)
        widget, bar = self.widget_state.get(msg["content"]["comm_id"], {}), self.nb_man.pbar
        if bar is not None and widget.get("_model_name") == "FloatProgressModel":
            bar.set_postfix_str(f"{widget['value']:.0f} of {widget['max']:.0f}", refresh=False)
            bar.update(0)  # draws it, if it is time to


class _Engine(NBClientEngine):
    """Papermill's own engine with our client, patient with busy machines."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man, kernel_name: str, environment: Mapping[str, str], **ignored: object
    ) -> None:
        for tries_left in (2, 1, 0):
            client = _Client(nb_man, kernel_name=kernel_name, startup_timeout=300, iopub_timeout=60)
            client.extra_arguments = ["--log-level=CRITICAL"]  # or it runs into progress bars
            try:
                return client.execute(env=os.environ | dict(environment))
            except RuntimeError as error:  # kernels started side by side may choose one port
                if "before replying to kernel_info" not in str(error) or not tries_left:
                    raise


papermill_engines.register("stylelab", _Engine)


def _is_news(record: logging.LogRecord) -> bool:
    """False when asyncio reports that a kernel is dead, as it should be after Ctrl-C."""
    return not (record.exc_info and isinstance(record.exc_info[1], DeadKernelError))


logging.getLogger("asyncio").addFilter(_is_news)
