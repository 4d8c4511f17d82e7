import iniconfig


def main():
    print("tiny", iniconfig.IniConfig.__name__)
