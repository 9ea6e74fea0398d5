"""The same graph on Kubeflow or Vertex AI Pipelines: compiled here, run in containers."""
