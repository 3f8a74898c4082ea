"""Other ways to serve a release, measured beside `shortlistd`: Python with ONNX Runtime or PyTorch, and Triton's server."""
