"""How a model is trained: recipe.py says it as plain values, optimiser.py makes PyTorch's objects of them."""
