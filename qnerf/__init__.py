"""qnerf: consistent multi-view editing with query radiance fields (QNeRF, arXiv 2402.14792)."""

__version__ = "0.1.0"
