"""How big is what is shipped, layer by layer, and which packages are it?"""

from __future__ import annotations

import io
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from infra import layers, tenant_files


def measure(root: Path, tenant: str) -> dict[str, dict[str, Any]]:
    """Every layer as a deployment to Lambda takes it (arm64), and the functions' own folders together."""
    made = root / "build" / "layers"
    shared = layers.shared(root, made, python=sys.version_info[:2])
    own = layers.tenant(tenant_files.load(tenant, root), tenant_files.manifests(root), made)
    return {
        "dependencies": of_folder(layers.dependencies(root, made).path),
        "shared": of_folder(shared.path),
        "tenant": of_folder(own.path),
        "functions": of_folders([layers.function(root, path.parent.name, made, python=sys.version_info[:2]).path for path in sorted((root / "functions").glob("*/handler.py"))]),
    }


def of_folders(folders: list[Path]) -> dict[str, Any]:
    """Several archives together; what is in them is small."""
    each = [of_folder(folder) for folder in folders]
    return {**{figure: sum(one[figure] for one in each) for figure in ("unpacked_bytes", "zipped_bytes", "files", "bytecode_bytes")}, "packages": []}


def of_folder(folder: Path, *, top: int = 12) -> dict[str, Any]:
    """Bytes of all files, bytes of their zip archive, and the packages that weigh most."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    weights: Counter[str] = Counter()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in files:
            name = path.relative_to(folder).as_posix()
            packed.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
            weights[_package(name)] += path.stat().st_size
    return {
        "unpacked_bytes": sum(weights.values()),
        "zipped_bytes": len(archive.getvalue()),
        "files": len(files),
        "bytecode_bytes": sum(path.stat().st_size for path in files if path.suffix == ".pyc"),
        "packages": [{"package": name, "bytes": weight} for name, weight in weights.most_common(top)],
    }


def _package(name: str) -> str:
    """The package a file of a layer belongs to: below crossdock its parts, else the first folder; a distribution's metadata apart."""
    parts = Path(name).parts
    parts = parts[1:] if parts[0] == "python" else parts
    if parts[0].endswith(".dist-info"):
        return "(distribution metadata)"
    if parts[0] == "crossdock" and len(parts) > 2:
        return f"crossdock.{parts[1]}"
    return parts[0]
