"""What does Crossdock cost in time, memory, space and money, measured against something in the same run?"""
