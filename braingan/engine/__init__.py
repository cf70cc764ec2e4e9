"""How networks are trained on whatever machine there is: devices, precision, memory, interruptions, many processes."""
