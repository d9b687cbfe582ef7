"""Small networks of plain torch, many of which are trained as one computation.

    world ──questions──▶ network (axis in front of every parameter) ──▶ logits     AdamW over one flat tensor (network, parameter)

Parameters of all networks lie in one tensor, so that an optimiser's step is a handful of operations however many networks and
parameters there are, and products of matrices are batched ones. `torch.func.vmap` over single networks gives the same numbers in
1.1 to 2 times the time.
"""
