"""Images as the OCI specifications have them: blobs, layers, manifests, layouts and the registry protocol.

Knows nothing of pipelines and environments.
"""
