"""The plots of the shap library, as SVG and PNG. Each has figures, and a drawing of them.

A drawing is plain SVG: matplotlib would add 70 MB to the image, and 50 MB and a second to each start of the api.
"""
