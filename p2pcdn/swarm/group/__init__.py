"""What members tell each other beside bytes: pages they signed, what they hold, what questions came to."""
