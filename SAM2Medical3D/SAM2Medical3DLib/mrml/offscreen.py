"""Slicer's own views without a screen, through trame-slicer."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  (VTK chooses its window class among those)
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkObject
from vtkmodules.vtkRenderingCore import vtkRenderWindow, vtkWindowToImageFilter

from ..errors import UserError
from ..geometry import Plane

if TYPE_CHECKING:
    from trame_slicer.core import SlicerApp
    from trame_slicer.views import AbstractView, SliceView, ThreeDView, ViewLayoutDefinition

_OSMESA = ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")


def slicer_application() -> SlicerApp:
    """A scene with Slicer's logics, ready to make views of it off screen.

    Raises:
        UserError: trame-slicer is not installed, or the machine has no OpenGL library.
    """
    try:
        from trame_slicer.core import SlicerApp
        from trame_slicer.views import DirectViewFactory
    except ImportError as error:
        raise UserError(
            "A 3D picture needs trame-slicer; install this package with its 'render' extra."
        ) from error
    check_opengl()
    application = SlicerApp()
    application.view_manager.register_factory(DirectViewFactory(do_render_offscreen=True))
    return application


def check_opengl() -> None:
    """Check that VTK can draw without a screen; to try without would end the process.

    Raises:
        UserError: if it cannot.
    """
    with _without_warnings():
        chosen = vtkRenderWindow().GetClassName()
    # VTK falls back to OSMesa when there is neither a display nor a working EGL, and crashes when
    # OSMesa is missing as well.
    if chosen == "vtkOSOpenGLRenderWindow" and not any(_loads(name) for name in _OSMESA):
        raise UserError(
            "A 3D picture needs OpenGL that works without a screen; on Debian or Ubuntu install "
            "the packages libegl1 and libgl1-mesa-dri."
        )


def make_threed_view(
    application: SlicerApp, width: int, height: int, background: str
) -> ThreeDView:
    """A 3D view of the application's scene, in pixels; ``background`` is a name or "#rrggbb"."""
    from trame_slicer.views import ViewLayoutDefinition

    definition = ViewLayoutDefinition.threed_view(background_color=background)
    return _make_view(application, definition, width, height)


def make_slice_view(application: SlicerApp, plane: Plane, width: int, height: int) -> SliceView:
    """A slice view of the application's scene along an anatomical plane, in pixels."""
    from trame_slicer.views import ViewLayoutDefinition

    definition = {
        Plane.AXIAL: ViewLayoutDefinition.axial_view,
        Plane.CORONAL: ViewLayoutDefinition.coronal_view,
        Plane.SAGITTAL: ViewLayoutDefinition.sagittal_view,
    }[plane]()
    return _make_view(application, definition, width, height)


def picture_of(view: AbstractView) -> np.ndarray:
    """What a view shows, drawn anew: (height, width, 3) uint8, top row first."""
    view.render()
    grabber = vtkWindowToImageFilter()
    grabber.SetInput(view.render_window())
    grabber.ReadFrontBufferOff()
    grabber.Update()
    image = grabber.GetOutput()
    width, height, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, 3)[::-1].copy()


def _make_view(
    application: SlicerApp, definition: ViewLayoutDefinition, width: int, height: int
) -> AbstractView:
    from trame_slicer.views.render_scheduler import NoScheduleRendering

    with _without_warnings():
        view = application.view_manager.create_view(definition)
        # Drawn when a picture is taken, not after each of the hundreds of events before.
        view.set_scheduled_render(NoScheduleRendering())
        view.update_size(width, height)
    return view


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


@contextmanager
def _without_warnings() -> Iterator[None]:
    """VTK warns that there is no display before it goes on to use EGL."""
    shown = vtkObject.GetGlobalWarningDisplay()
    vtkObject.SetGlobalWarningDisplay(0)
    try:
        yield
    finally:
        vtkObject.SetGlobalWarningDisplay(shown)
