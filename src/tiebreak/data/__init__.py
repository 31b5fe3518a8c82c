"""What is learned from: data sets, their split, their batches."""
