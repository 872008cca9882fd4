"""The channels of the Human Protein Atlas, in the order in which arrays hold them."""

HPA_CHANNELS = ("red", "green", "blue", "yellow")  # microtubules, the protein, nucleus, ER

# HPA v18 publishes each channel as an RGB JPEG tinted in its own colour: the planes (of R, G, B)
# that carry the signal. Yellow light is red and green together.
TINT_PLANES = {"red": (0,), "green": (1,), "blue": (2,), "yellow": (0, 1)}

# How a channel shows on screen, as RGB weights; channels without a colour of their own are gray.
DISPLAY_COLOURS = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (0.5, 0.5, 0.0),
}
