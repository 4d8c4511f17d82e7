"""The custom resources of DESIGN.md's table, as small as an API server takes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig.golang import downloaded
from ruamel.yaml import YAML

FOLDER = "KITBAG_TEST_CRDS"
"""The variable with a folder of real CustomResourceDefinitions, which replace these by name."""

_KUBEFLOW, _ARGO, _KSERVE = "kubeflow.org", "argoproj.io", "serving.kserve.io"
_TRAINER, _SPARK, _RAY = "trainer.kubeflow.org", "sparkoperator.k8s.io", "ray.io"


@dataclass(frozen=True, slots=True)
class Crd:
    """One custom resource; the first of `versions` is the one that etcd keeps."""

    kind: str
    group: str
    versions: tuple[str, ...]
    namespaced: bool = True
    has_status: bool = True
    """Whether the status is a resource of its own, so that writing the object leaves it alone."""

    @property
    def plural(self) -> str:
        return f"{self.kind.lower()}s"

    def definition(self) -> dict[str, Any]:
        """The object to create: every field is kept, none is checked."""
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        subresources = {"subresources": {"status": {}}} if self.has_status else {}
        # Groups of the Kubernetes project's own domain must say who looked at them.
        approved = {"api-approved.kubernetes.io": "unapproved, only for tests"}
        annotations = approved if self.group.endswith(".k8s.io") else {}
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{self.plural}.{self.group}", "annotations": annotations},
            "spec": {
                "group": self.group,
                "scope": "Namespaced" if self.namespaced else "Cluster",
                "names": {
                    "kind": self.kind,
                    "listKind": f"{self.kind}List",
                    "plural": self.plural,
                    "singular": self.kind.lower(),
                },
                "versions": [
                    {
                        "name": version,
                        "served": True,
                        "storage": version == self.versions[0],
                        "schema": {"openAPIV3Schema": schema},
                        **subresources,
                    }
                    for version in self.versions
                ],
            },
        }


CRDS = (
    Crd("Notebook", _KUBEFLOW, ("v1", "v1beta1", "v1alpha1")),
    Crd("Profile", _KUBEFLOW, ("v1",), namespaced=False),
    Crd("Workspace", _KUBEFLOW, ("v1beta1",)),
    Crd("WorkspaceKind", _KUBEFLOW, ("v1beta1",), namespaced=False),
    Crd("TFJob", _KUBEFLOW, ("v1",)),
    Crd("PyTorchJob", _KUBEFLOW, ("v1",)),
    Crd("XGBoostJob", _KUBEFLOW, ("v1",)),
    Crd("PaddleJob", _KUBEFLOW, ("v1",)),
    Crd("JAXJob", _KUBEFLOW, ("v1",)),
    Crd("MXJob", _KUBEFLOW, ("v1",)),
    Crd("MPIJob", _KUBEFLOW, ("v2beta1", "v1")),
    Crd("XGBoostJob", "xgboostjob.kubeflow.org", ("v1alpha1",)),
    Crd("TrainJob", _KUBEFLOW, ("v2alpha1",)),
    Crd("TrainingRuntime", _KUBEFLOW, ("v2alpha1",), has_status=False),
    Crd("ClusterTrainingRuntime", _KUBEFLOW, ("v2alpha1",), namespaced=False, has_status=False),
    Crd("TrainJob", _TRAINER, ("v1alpha1",)),
    Crd("TrainingRuntime", _TRAINER, ("v1alpha1",), has_status=False),
    Crd("ClusterTrainingRuntime", _TRAINER, ("v1alpha1",), namespaced=False, has_status=False),
    Crd("JobSet", "jobset.x-k8s.io", ("v1alpha2",)),
    Crd("Experiment", _KUBEFLOW, ("v1beta1",)),
    Crd("Trial", _KUBEFLOW, ("v1beta1",)),
    Crd("Pipeline", "pipelines.kubeflow.org", ("v2beta1",)),
    Crd("PipelineVersion", "pipelines.kubeflow.org", ("v2beta1",)),
    # Argo writes the status with the object, not beside it.
    Crd("Workflow", _ARGO, ("v1alpha1",), has_status=False),
    Crd("WorkflowTemplate", _ARGO, ("v1alpha1",), has_status=False),
    Crd("ClusterWorkflowTemplate", _ARGO, ("v1alpha1",), namespaced=False, has_status=False),
    Crd("CronWorkflow", _ARGO, ("v1alpha1",), has_status=False),
    Crd("ScheduledWorkflow", _KUBEFLOW, ("v1beta1",)),
    Crd("InferenceService", _KSERVE, ("v1beta1",)),
    Crd("ServingRuntime", _KSERVE, ("v1alpha1",), has_status=False),
    Crd("ClusterServingRuntime", _KSERVE, ("v1alpha1",), namespaced=False, has_status=False),
    Crd("LLMInferenceService", _KSERVE, ("v1alpha1",)),
    Crd("LLMInferenceServiceConfig", _KSERVE, ("v1alpha1",), has_status=False),
    Crd("InferenceService", "serving.kubeflow.org", ("v1beta1",)),
    Crd("SparkApplication", "spark.apache.org", ("v1",)),
    Crd("SparkCluster", "spark.apache.org", ("v1",)),
    Crd("SparkApplication", _SPARK, ("v1beta2",)),
    Crd("ScheduledSparkApplication", _SPARK, ("v1beta2",)),
    Crd("RayCluster", _RAY, ("v1", "v1alpha1")),
    Crd("RayJob", _RAY, ("v1", "v1alpha1")),
    Crd("RayService", _RAY, ("v1", "v1alpha1")),
)


def definitions() -> list[dict[str, Any]]:
    """The definitions to install, those of the folder that `KITBAG_TEST_CRDS` names instead."""
    named = {made["metadata"]["name"]: made for made in (crd.definition() for crd in CRDS)}
    if folder := os.environ.get(FOLDER):
        named |= {made["metadata"]["name"]: made for made in _given(Path(folder))}
    return list(named.values())


@dataclass(frozen=True, slots=True)
class Published:
    """A Go module that a project publishes its definitions in, and the files with them.

    `checksum` is what go.sum would hold; the module proxy's answer must have it.
    """

    module: str
    checksum: str
    files: tuple[str, ...]
    names: frozenset[str]


_MONITORING = "example/prometheus-operator-crd/monitoring.coreos.com_"
PUBLISHED = (
    Published(
        "github.com/cert-manager/cert-manager@v1.21.2",
        "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=",
        ("deploy/crds/cert-manager.io_certificates.yaml",),
        frozenset({"certificates.cert-manager.io"}),
    ),
    Published(
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        (f"{_MONITORING}servicemonitors.yaml", f"{_MONITORING}prometheusrules.yaml"),
        frozenset(
            {"servicemonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com"}
        ),
    ),
    Published(
        "github.com/kedacore/keda/v2@v2.21.0",
        "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
        ("config/crd/bases/keda.sh_scaledobjects.yaml",),
        frozenset({"scaledobjects.keda.sh"}),
    ),
    Published(
        "istio.io/api@v1.31.4",
        "h1:AcnncYrlDj1PJkym7h88Gggkef4MAra8QpGaXRMsr+E=",
        ("kubernetes/customresourcedefinitions.gen.yaml",),
        frozenset(
            {"virtualservices.networking.istio.io", "authorizationpolicies.security.istio.io"}
        ),
    ),
)
"""Whose objects the chart makes, with the schemas that an API server checks them by."""


def published() -> list[dict[str, Any]]:
    """The real definitions of `PUBLISHED`, out of Go's module cache or its proxy."""
    found = [
        document
        for source in PUBLISHED
        for file in source.files
        for document in YAML(typ="safe").load_all(downloaded(source.module, source.checksum) / file)
        if document and document["metadata"]["name"] in source.names
    ]
    assert len(found) == sum(len(source.names) for source in PUBLISHED)
    return found


def _given(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((*folder.rglob("*.yaml"), *folder.rglob("*.yml"))):
        for document in YAML(typ="safe").load_all(path):
            if document and document.get("kind") == "CustomResourceDefinition":
                yield document
