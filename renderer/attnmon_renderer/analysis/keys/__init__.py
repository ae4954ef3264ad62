"""What keys get of a layer's attention, and which keys its queries may see."""
