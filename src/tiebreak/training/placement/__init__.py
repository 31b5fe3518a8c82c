"""How a run is computed: device, number format, layers. The values are in placement.py."""
