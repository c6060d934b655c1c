"""Operations of FG-Net beyond torch's own, one module each.

Where a module computes something in another way than its definition, the definition stands beside it as ``…_reference``,
in plain torch: it is the specification of the CUDA kernel. Modules are named after their function, so this package
re-exports nothing.
"""
