"""OmniDocBench: pages as typed blocks, matched and scored (arXiv 2412.07626), in the way of its version 1.5.

Everything here is what the benchmark does, also where it is odd: docs/verifiers/omnidocbench.md has a list.
"""
