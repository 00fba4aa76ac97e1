"""OmniDocBench in the way of its version 1.6, whose matching adapts to how finely a page is cut into blocks.

Everything here is what the benchmark does, also where it is odd: docs/verifiers/omnidocbench.md has a list.
"""
