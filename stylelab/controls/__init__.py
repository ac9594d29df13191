"""Control over styles, regions, colours and scales (Gatys et al., CVPR 2017), and statistics."""
