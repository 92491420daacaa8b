"""What goes over the wire between peers: questions, answers, bitfields, read strictly; an answer out of bytes. Pure."""
