"""Deployable artefacts: ONNX graphs of a trained network and its front end, int8, and classifying with them."""
