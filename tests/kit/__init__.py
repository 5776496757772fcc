"""The rolling-deploy test kit: what every rewrite is proven with."""
