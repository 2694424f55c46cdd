"""How do the steps of an order follow each other, as Amazon States Language?"""
