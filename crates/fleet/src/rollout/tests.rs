use super::*;

fn staged(number: u8) -> Staged {
    let secret = crate::NodeSecret::of([number; 32]);
    Staged { change: Signed::new(crate::Domain::Change, &u32::from(number), &secret), content: None }
}

fn rollout(stages: &[u64]) -> Result<Rollout, RolloutError> {
    Rollout::new(stages.to_vec(), (90, 600), None, vec![staged(1)])
}

fn devices(count: u16) -> Vec<DeviceId> {
    (0..count).map(|number| crate::DeviceId::first_known_by(&crate::NodeSecret::of(seed(number)).public())).collect()
}

fn seed(number: u16) -> [u8; 32] {
    let mut seed = [9; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    seed
}

#[test]
fn stages_rise_to_everybody() {
    for wrong in [&[][..], &[5], &[7, 7, EVERYBODY], &[EVERYBODY, EVERYBODY + 1], &[0; 17]] {
        assert!(rollout(wrong).is_err(), "{wrong:?}");
    }
    let good = rollout(&[0, 1 << 30, EVERYBODY]).unwrap();
    assert_eq!(Rollout::from_bytes(&good.to_bytes()), Ok(good));
    let window = |from, to| Rollout::new(vec![EVERYBODY], (0, 0), Some(Window { from, to }), vec![staged(1)]);
    assert!(window(10, 10).is_err() && window(0, 1440).is_err() && window(1380, 60).is_ok());
    assert!(Rollout::new(vec![EVERYBODY], (101, 0), None, vec![staged(1)]).is_err());
    assert!(Rollout::new(vec![EVERYBODY], (100, 0), None, Vec::new()).is_err());
}

#[test]
fn a_stage_has_as_many_devices_as_it_was_made_for_and_keeps_those_before() {
    let devices = devices(40);
    let first = staged(1);
    let bounds: Vec<_> = [1, 2, 10, 40].map(|count| bound(&first.change, &devices, count)).into();
    let rollout = Rollout::new(bounds, (90, 600), None, vec![first]).unwrap();
    let taking_part = |stage| devices.iter().filter(|device| rollout.takes_part(**device, stage)).collect::<Vec<_>>();
    assert_eq!([0, 1, 2, 3, 4].map(|stage| taking_part(stage).len()), [1, 2, 10, 40, 0]);
    assert!(taking_part(1).iter().all(|device| taking_part(2).contains(device)));
    // Another rollout begins with others.
    let places = |number| devices.iter().map(|device| place(&staged(number).change, *device)).collect::<Vec<_>>();
    assert_ne!(places(1), places(2));
}

#[test]
fn a_window_may_go_over_midnight() {
    let night = Window { from: 1380, to: 60 };
    assert!(night.is_open(1439) && night.is_open(0) && !night.is_open(60) && !night.is_open(720));
    let day = Window { from: 60, to: 120 };
    assert!(day.is_open(60) && !day.is_open(120));
}

#[test]
fn a_stage_waits_advances_or_halts_by_those_who_take_part() {
    let two = rollout(&[1 << 30, EVERYBODY]).unwrap();
    let judge = |applied, waiting, failed, offline, lasted| {
        two.judge(0, &Participants { applied, waiting, failed, offline }, lasted, None)
    };
    assert_eq!(judge(0, 0, 0, 0, 0), Verdict::Advance, "nobody is no reason to wait");
    assert_eq!(judge(10, 0, 0, 0, 0), Verdict::Advance);
    assert_eq!(judge(9, 1, 0, 0, 0), Verdict::Wait);
    assert_eq!(judge(9, 0, 1, 0, 600), Verdict::Advance, "nine of ten are enough");
    assert_eq!(judge(9, 0, 0, 1, 600), Verdict::Advance);
    assert!(matches!(judge(3, 5, 2, 0, 0), Verdict::Halt(_)), "nine of ten cannot be had any more");
    assert!(matches!(judge(8, 2, 0, 0, 600), Verdict::Halt(_)));
    assert!(matches!(judge(0, 0, 1, 0, 0), Verdict::Halt(_)));
}

#[test]
fn stages_begin_in_the_window_and_the_end_comes_at_any_time() {
    let window = Some(Window { from: 60, to: 120 });
    let two = Rollout::new(vec![5, EVERYBODY], (90, 600), window, vec![staged(1)]).unwrap();
    let well = Participants { applied: 3, ..Participants::default() };
    assert_eq!(two.judge(0, &well, 0, Some(30)), Verdict::Wait);
    assert_eq!(two.judge(0, &well, 0, None), Verdict::Wait, "whoever does not know the time keeps still");
    assert_eq!(two.judge(0, &well, 0, Some(90)), Verdict::Advance);
    assert_eq!(two.judge(1, &well, 0, Some(30)), Verdict::Advance);
    assert!(two.may_begin(Some(60)) && !two.may_begin(Some(120)) && !two.may_begin(None));
}

#[test]
fn hostile_bytes_are_refused() {
    let corpus = [rollout(&[1, EVERYBODY]).unwrap().to_bytes(), Stage::new(ChangeId::of([1; 32]), 1, true).to_bytes()];
    fuzz::Corpus::of(corpus).run(|bytes| {
        drop(Rollout::from_bytes(bytes));
        drop(Stage::from_bytes(bytes));
        drop(Itinerary::from_bytes(bytes));
    });
}
