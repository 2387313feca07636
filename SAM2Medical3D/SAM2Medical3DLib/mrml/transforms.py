"""Parent transforms of MRML nodes as 4x4 matrices."""

from __future__ import annotations

import numpy as np
import slicer
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from ..errors import UserError


def to_numpy(matrix: vtkMatrix4x4) -> np.ndarray:
    """A copy of a VTK matrix as (4, 4) float64."""
    return np.array([[matrix.GetElement(row, col) for col in range(4)] for row in range(4)])


def to_vtk(matrix: np.ndarray) -> vtkMatrix4x4:
    """A copy of a (4, 4) array as a VTK matrix."""
    result = vtkMatrix4x4()
    result.DeepCopy([float(value) for value in np.asarray(matrix, float).ravel()])
    return result


def matrix_between(
    source: slicer.vtkMRMLTransformableNode, target: slicer.vtkMRMLTransformableNode | None = None
) -> np.ndarray:
    """The (4, 4) matrix from a node's own coordinates to those of another node, in RAS mm.

    Args:
        source: the node whose coordinates are mapped.
        target: the node they are mapped to; None is the world.

    Raises:
        UserError: if one of them is under a non-linear transform that the other does not share.
    """
    source_transform = source.GetParentTransformNode()
    target_transform = target.GetParentTransformNode() if target is not None else None
    if source_transform == target_transform:
        return np.eye(4)
    for node, transform in ((source, source_transform), (target, target_transform)):
        if transform is not None and not transform.IsTransformToWorldLinear():
            raise UserError(
                f"{node.GetName()} is under a non-linear transform; harden it in the Data module "
                "(right click on the node's transform, Harden transform) and try again."
            )
    matrix = vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(
        source_transform, target_transform, matrix
    )
    return to_numpy(matrix)
