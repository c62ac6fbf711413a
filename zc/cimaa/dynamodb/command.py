def main(args=None):
    pass
