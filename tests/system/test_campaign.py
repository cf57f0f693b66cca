"""A short campaign of drawn faults (`make campaign` is the long one), and what its eyes must see."""

import campaign
import faults
import truth
from probe import Ack

KIND = 'two-lan'
SEED = 1945  # its first six: powered off, killed, stopped, a disk that hangs, a switchover, frozen; three times two


def test_drawn_faults(get_cluster):
    play = campaign.Campaign(get_cluster(campaign.KINDS[KIND]))
    for step in faults.draw(SEED, range(1, 7), campaign.KINDS[KIND]):
        result = play.play(step)
        print(campaign.shown(result))
        assert not result['problems'], campaign.shown(result)
    # an eye that sees nothing proves nothing
    c, primary = play.cluster, play.cluster.primary()
    assert play.ledger.n > 1000 and play.ledger.missing(c.server[primary]) == 0
    client, first, _ = play.ledger.runs[0]
    c.server[primary].query(f'DELETE FROM {truth.TABLE} WHERE client = {client} AND n = {first}')
    truth.wait_replayed(c, primary)
    assert [play.ledger.missing(s) for s in c.server.values()] == [1] * len(c.server)


def test_the_list_depends_on_seed_and_kind_alone():
    for name, kind in campaign.KINDS.items():
        whole = faults.draw(SEED, range(1, 200), kind)
        assert whole == faults.draw(SEED, range(1, 200), kind), name
        assert whole[16:20] == faults.draw(SEED, range(17, 21), kind)
        assert whole != faults.draw(SEED + 1, range(1, 200), kind)
        many = faults.draw(SEED, range(1, 400), kind)
        assert {f.what for s in many for f in s.faults} == set(faults.names_of(kind))


def test_two_writers_are_seen():
    acks = [Ack(1.0, 'db1', 1), Ack(2.0, 'db2', 2), Ack(2.5, 'db1', 3), Ack(3.0, 'db2', 4)]
    assert truth.two_writers(acks, ['db1', 'db2']) == 0.5
    assert truth.two_writers(acks, ['db1', 'db2', 'db1', 'db2']) == 0.0
    assert truth.two_writers(acks[:2], ['db1', 'db3', 'db2']) == 0.0
    assert truth.two_writers(acks[:1], ['db2']) > 0, 'acknowledged by somebody who never was primary'


def test_a_campaign_in_pieces_is_summed_up(tmp_path):
    file = tmp_path / 'two-1.jsonl'
    line = ('{"number": %d, "name": "freeze primary", "gap_ms": %d, "whole_ms": 5, "lost": 0, '
            '"both_ms": 0.0, "problems": []}\n')
    file.write_text(line % (1, 900) + line % (2, 10) + line % (1, 20))  # the first was played again
    text = campaign.summary(campaign.read_results([file]))
    assert '| host frozen, primary | 2 | 10 | 20 | 5 | 5 | 0 | 0 | 0 |' in text
    assert {n for names in campaign.GROUPS.values() for n in names} == set(faults.FAULTS)
    assert campaign.numbers_of('3,7-9') == [3, 7, 8, 9]
