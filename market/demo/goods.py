"""The products of the demo."""

STOCK = {"product_1": 20, "product_2": 10, "product_3": 30}
PRICES = {"product_1": "89.00", "product_2": "45.50", "product_3": "7.90"}
NAMES = {"product_1": "Chef's knife", "product_2": "Cast-iron pan", "product_3": "Wooden spoon"}
