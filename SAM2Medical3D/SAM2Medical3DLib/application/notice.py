"""What the panel and the module say about themselves: notice, help, acknowledgement."""

from __future__ import annotations

import html

import slicer
from slicer.i18n import tr as _

_SETTING = "SAM2Medical3D/NoticeRead"
_EDITION = 1  # higher when the notice says something new, so that it is shown again
_HOMEPAGE = "https://github.com/SAM2Medical3D/SlicerSAM2Medical3D"


def notice_text() -> str:
    """The notice that the panel shows until the user has read it."""
    return _(
        "For research, not for clinical use. The bundled models were trained on synthetic volumes "
        "only and make mistakes: check every slice."
    )


def notice_is_due() -> bool:
    """Whether this user has not yet read the notice."""
    settings = slicer.app.userSettings()
    return slicer.util.settingsValue(_SETTING, 0, int, settings) < _EDITION


def remember_notice() -> None:
    """Remember that this user has read the notice."""
    slicer.app.userSettings().setValue(_SETTING, _EDITION)


def help_text() -> str:
    """The module's help, as HTML."""
    return (
        _(
            "Segment an organ or a tumour in a CT or MR volume from a click or a box on one slice, "
            "which SAM 2 carries through all slices."
        )
        + "<br>"
        + notice_text()
        + "<br>"
        + _('See the <a href="{address}">documentation</a>.').format(address=_HOMEPAGE)
    )


def acknowledgement_text() -> str:
    """Whose work this is, as HTML: the papers to cite."""
    papers = "".join(
        f'<li>{html.escape(authors)}: <a href="https://arxiv.org/abs/{number}">'
        f"{html.escape(title)}</a></li>"
        for authors, title, number in _papers()
    )
    return _("Please cite the work that this rests on:") + f"<ul>{papers}</ul>"


def _papers() -> list[tuple[str, str, str]]:
    """Authors and year, title, number at arXiv."""
    return [
        (
            "Ravi et al. 2024",
            "SAM 2: Segment Anything in Images and Videos",
            "2408.00714",
        ),
        (
            "Shen, Li, Shi, Wang 2024",
            "Interactive 3D Medical Image Segmentation with SAM 2",
            "2408.02635",
        ),
        (
            "Khlaut et al. 2025",
            "RadSAM: Segmenting 3D radiological images with a 2D promptable model",
            "2504.20837",
        ),
        (
            "Yang, Xu, Tian 2025",
            "SAM2-3dMed: Empowering SAM2 for 3D Medical Image Segmentation",
            "2510.08967",
        ),
    ]
