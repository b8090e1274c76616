"""The plots that shap's users know, as SVG and PNG.

Each plot is two steps: figures (which numbers are shown, agreeing with shap.plots) and a drawing of them. The drawing is
plain SVG of a few elements: matplotlib would take 70 MB of the image, and 50 MB and a second of the api's memory and
start.
"""
