import numpy as np

from opentrans.data.regions import find_centre


def test_centre_is_row_and_column_of_the_largest_part():
    mask = np.zeros((9, 12), bool)
    mask[0, :] = True
    mask[2:7, 6:11] = True
    assert find_centre(mask) == (4, 8)


def test_centre_lies_inside_a_region_whose_mean_does_not():
    mask = np.ones((21, 21), bool)
    mask[4:17, 4:] = False
    row, column = find_centre(mask)
    assert mask[row, column]


def test_centre_of_a_large_map_is_found_on_a_coarse_one():
    mask = np.zeros((1024, 2048), bool)
    mask[100:301, 1000:1401] = True
    row, column = find_centre(mask)
    assert abs(row - 200) <= 4
    assert 1096 <= column <= 1304


def test_centre_of_a_region_between_the_coarse_points_is_found():
    mask = np.zeros((1024, 1024), bool)
    mask[513, 515] = True
    assert find_centre(mask) == (513, 515)
