"""For Slicer's ``--python-script``: runs the module's self-test and ends with its exit status."""

import traceback

import slicer


def main() -> int:
    try:
        import SAM2Medical3D

        SAM2Medical3D.SAM2Medical3DTest().runTest()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


slicer.util.exit(main())
