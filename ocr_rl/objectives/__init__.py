"""The mathematics of training: pure functions of tensors."""
