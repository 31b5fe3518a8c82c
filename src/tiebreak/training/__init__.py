"""One run: a recipe, the loop, and one training step under the microscope."""
