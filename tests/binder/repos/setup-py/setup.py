from setuptools import setup

setup(name="tiny-setup", version="1.2", py_modules=["tiny_setup"])
