"""What was predicted, by whom, on what. It stands between training and judging, and knows neither."""
