"""Models in the panel: choosing, downloading, removing, and the packages that running one takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import UserError
from ..models.registry import remove_model
from .downloading import Download
from .packages import install_missing
from .weights import (
    ModelRow,
    configurations,
    downloaded_bytes,
    kept_rows,
    megabytes,
    model_rows,
    needs_configuration,
    own_model_row,
    suggested_configuration,
    weights_folder,
)

_OTHER = "\n"  # data of the entry that asks for a file

_PAUSE_S = 0.02


class ModelsSection:
    """The model's row, and the list of what is kept on this computer.

    Args:
        ui: the panel's named widgets.
        logic: the module's logic.
        requirements: the requirements file.
        say: shows a sentence.
    """

    def __init__(
        self, ui: object, logic: object, requirements: Path, say: Callable[[str], None]
    ) -> None:
        self._ui, self._logic, self._requirements, self._say = ui, logic, requirements, say
        self._parameters = None
        self._download: Download | None = None
        self._told = ""
        self._rows: list[ModelRow] = []
        self.ready = False
        self._timer = qt.QTimer(ui.modelComboBox)
        self._timer.setInterval(2)
        self._timer.connect("timeout()", self._watch_download)
        ui.modelComboBox.connect("activated(int)", self._on_chosen)
        ui.downloadButton.connect("clicked()", self._on_download)
        ui.removeModelButton.connect("clicked()", self._on_remove)
        ui.weightsTable.connect("itemSelectionChanged()", self._on_row)
        ui.weightsTable.setHorizontalHeaderLabels([_("Model"), _("Size")])
        ui.weightsTable.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        ui.weightsTable.verticalHeader().setVisible(False)

    def use(self, parameters: object | None) -> None:
        """Follow another parameter node."""
        self._parameters = parameters
        self._fill()

    def close(self) -> None:
        """Stop a download under way."""
        self._timer.stop()
        if self._download is not None:
            self._download.cancel()
            self._download.wait(2)
            self._download = None

    def ensure_packages(self) -> bool:
        """Install what running a model takes, with the user's consent. Whether all is there."""
        if self.ready:
            return True
        try:
            install_missing(self._requirements)
        except UserError as error:
            self._say(str(error))
            return False
        self.ready = True
        return True

    def refresh(self) -> None:
        """Show where models run, and the list of the method that is chosen now."""
        method = None if self._parameters is None else self._parameters.method.value
        if method != self._method:
            self._fill()
        self._ui.boundariesCheckBox.visible = method == "sam2-3dmed"
        if self._logic.device and self._ui.deviceLabel.text != self._logic.device:
            self._ui.deviceLabel.text = self._logic.device
        elif not self._logic.device:
            self._ui.deviceLabel.text = _("found out when a model is first used")

    _method = None

    def _fill(self) -> None:
        """The list for the chosen method, with what is chosen."""
        ui, parameters = self._ui, self._parameters
        self._method = None if parameters is None else parameters.method.value
        combo = ui.modelComboBox
        combo.clear()
        combo.enabled = parameters is not None
        if parameters is None:
            return
        self._rows = model_rows(self._method)
        if parameters.model and all(row.name != parameters.model for row in self._rows):
            self._add_own(parameters.model)
        for row in self._rows:
            combo.addItem(row.label, row.name)
        combo.addItem(_("Other file…"), _OTHER)
        if parameters.model and all(row.name != parameters.model for row in self._rows):
            parameters.model = ""
        self._select_current()
        self._fill_table()

    def _add_own(self, path: str) -> None:
        try:
            self._rows.append(own_model_row(Path(path), self._method))
        except UserError as error:
            self._say(str(error))

    def _chosen_row(self) -> ModelRow | None:
        name = "" if self._parameters is None else self._parameters.model
        return next(
            (r for r in self._rows if r.name == name), self._rows[0] if self._rows else None
        )

    def _select_current(self) -> None:
        row = self._chosen_row()
        if row is not None:
            self._ui.modelComboBox.currentIndex = self._ui.modelComboBox.findData(row.name)
        waiting = row is not None and row.download_bytes > 0
        self._ui.downloadButton.visible = waiting or self._download is not None
        self._ui.downloadButton.text = _("Cancel") if self._download is not None else _("Download")

    def _on_chosen(self, index: int) -> None:
        name = self._ui.modelComboBox.itemData(index)
        config, image_size = "", 0
        if name == _OTHER:
            name = self._ask_for_file()
            if name and needs_configuration(Path(name)):
                config, image_size = self._ask_for_configuration(Path(name))
                name = name if config else ""
        if name:
            # "" is the method's own, so that changing the method changes the model with it.
            self._parameters.model = "" if name == self._rows[0].name else name
            self._parameters.config, self._parameters.imageSize = config, image_size
        self._fill()
        row = self._chosen_row()
        if row is not None and row.download_bytes:
            self._say(
                _("{title} is not here yet: press Download ({size}).").format(
                    title=row.title, size=megabytes(row.download_bytes)
                )
            )

    def _ask_for_file(self) -> str:
        path = qt.QFileDialog.getOpenFileName(
            self._ui.modelComboBox, _("Checkpoint"), "", "*.safetensors *.pt *.pth"
        )
        if not path:
            return ""
        try:
            return own_model_row(Path(path), self._method).name
        except UserError as error:
            self._say(str(error))
            return ""

    def _ask_for_configuration(self, path: Path) -> tuple[str, int]:
        """Which network a checkpoint is for that does not say it: (configuration, image size)."""
        suggested, image_size = suggested_configuration(path)
        choices = configurations()
        title = qt.QInputDialog.getItem(
            self._ui.modelComboBox,
            "SAM2Medical3D",
            _("{name} does not say what network it is for. It is one of:").format(name=path.name),
            [title for _value, title in choices],
            [value for value, _title in choices].index(suggested),
            False,
        )
        config = next((value for value, shown in choices if shown == title), "")
        return config, image_size if config == suggested else 0

    # Downloading and removing

    def _on_download(self) -> None:
        if self._download is not None:
            self._download.cancel()
            return
        row = self._chosen_row()
        if row is None or not row.download_bytes or not self.ensure_packages():
            return
        question = _("Download {title} ({size}) from Meta's server to {folder}?").format(
            title=row.title, size=megabytes(row.download_bytes), folder=weights_folder()
        )
        if slicer.util.confirmOkCancelDisplay(question, "SAM2Medical3D"):
            self._download = Download(row.name)
            self._timer.start()
        self._select_current()

    def _watch_download(self) -> None:
        download = self._download
        if download is None:
            self._timer.stop()
            return
        # The event loop keeps Python's interpreter: the download goes on while this waits.
        if not download.wait(_PAUSE_S):
            done, total = map(megabytes, download.progress)
            told = _("Downloading: {done} of {total}").format(done=done, total=total)
            if told != self._told:
                self._told = told
                self._say(told)
            return
        self._timer.stop()
        self._download = None
        try:
            download.result()
            self._say(_("The model is here, and is what its makers published."))
        except UserError as error:
            self._say(str(error))
        self._fill()

    def _fill_table(self) -> None:
        table = self._ui.weightsTable
        kept = kept_rows()
        where = _("Downloaded models ({size}) are kept in {folder}")
        self._ui.weightsFolderLabel.text = where.format(
            size=megabytes(downloaded_bytes()), folder=weights_folder()
        )
        table.rowCount = len(kept)
        for number, row in enumerate(kept):
            title = qt.QTableWidgetItem(row.title)
            title.setData(qt.Qt.UserRole, row.name)
            table.setItem(number, 0, title)
            table.setItem(number, 1, qt.QTableWidgetItem(megabytes(row.size_bytes)))
        self._on_row()

    def _on_row(self) -> None:
        self._ui.removeModelButton.enabled = self._ui.weightsTable.currentRow() >= 0

    def _on_remove(self) -> None:
        item = self._ui.weightsTable.item(self._ui.weightsTable.currentRow(), 0)
        if item is None:
            return
        try:
            freed = remove_model(item.data(qt.Qt.UserRole))
            self._say(_("{size} are free again.").format(size=megabytes(freed)))
        except UserError as error:
            self._say(str(error))
        self._logic.forgetModels()
        self._fill()
